"""What tests of runs over many files look at."""

import json
import os
import socket
from pathlib import Path

import pytest

from densekit.registry import MODELS


def ledger(out):
    return json.loads((out / "predictions.json").read_text())


def statuses(result):
    return {row.case.id: row.status for row in result.rows}


def odd_things(folder, suffix):
    """Put into a folder what only has the name of a file; returns by stem what must be said of each."""
    (folder / f"dangling{suffix}").symlink_to("nowhere")
    (folder / f"loop{suffix}").symlink_to(f"pool{suffix}")
    (folder / f"pool{suffix}").symlink_to(f"loop{suffix}")
    os.mkfifo(folder / f"fifo{suffix}")
    (folder / f"folder{suffix}").mkdir()
    (folder / f"empty{suffix}").touch()
    (folder / f"device{suffix}").symlink_to("/dev/zero")
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket has 107 letters at most
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"socket{suffix}")
    os.chdir(here)
    return {
        "dangling": "is a link to what is not there (nowhere)",
        "loop": "is a link that leads back to itself",
        "pool": "is a link that leads back to itself",
        "fifo": "is a FIFO",
        "folder": "is a folder",
        "empty": "empty",
        "device": "is a device",
        "socket": "is a socket",
    }


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
