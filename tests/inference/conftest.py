"""What tests of runs over many files look at."""

import json

import pytest

from densekit.registry import MODELS


def ledger(out):
    return json.loads((out / "predictions.json").read_text())


def statuses(result):
    return {row.case.id: row.status for row in result.rows}


@pytest.fixture
def network(predicting):
    """Register a network that does something else first; returns its name."""
    base, method = predicting
    added = []

    def make(name, action):
        def act_and_predict(self, given):
            action(given)
            return getattr(base, method)(self, given)

        MODELS.register_module(name=name, module=type("Special", (base,), {method: act_and_predict}), force=True)
        added.append(name)
        return name

    yield make
    for name in added:
        MODELS.module_dict.pop(name)
