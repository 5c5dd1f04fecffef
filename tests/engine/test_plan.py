"""The moving average of the weights."""

import pytest
from mmengine.model import BaseAveragedModel
from mmengine.registry import MODELS
from torch import nn

from densekit.engine.plan import average_hook


def average_of(model, momentum) -> BaseAveragedModel:
    """As EMAHook builds it."""
    settings = average_hook(momentum)
    kind = settings.pop("ema_type")
    assert settings.pop("type") == "EMAHook"
    return MODELS.build({"type": kind, "model": model, **settings})


def share_of_start(momentum, iterations, begin=0):
    """How much the weights before some iterations count in the average after them."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    average = average_of(model, momentum)
    average.steps.fill_(begin)
    if not begin:
        average.update_parameters(model)  # the first takes the weights as they are
    nn.init.zeros_(model.weight)
    for _ in range(iterations - (not begin)):
        average.update_parameters(model)
    return average.module.weight.item()


@pytest.mark.parametrize("iterations", [20, 40, 240])
def test_an_average_longer_than_the_run_leaves_the_start_behind(iterations):
    assert (1 - 0.005) ** iterations > 0.3 - 1e-3  # what one of fixed length would keep of it
    assert share_of_start(0.005, iterations) < 1e-3


def test_a_momentum_that_is_large_already_is_taken_as_it_is():
    assert share_of_start(0.95, 3) == pytest.approx(0.05**2, rel=1e-3)


def test_far_from_the_start_it_is_an_average_of_the_length_asked_for():
    assert share_of_start(0.005, 100, begin=2_000) == pytest.approx(0.995**100, rel=1e-4)
