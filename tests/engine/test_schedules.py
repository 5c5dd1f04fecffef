"""The learning rate of a run that goes on to another last epoch is that of a run which had that one from the start."""

import copy

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR, OptimWrapper, PolyLR

from densekit.engine.schedules import load_schedules

LENGTH = 3
"""Iterations of an epoch."""


@pytest.fixture
def run():
    """Function that goes through so many iterations of a run; returns optimizer, schedules and the training state."""

    def through(kind, max_epochs, iterations):
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = OptimWrapper(torch.optim.SGD([weight], lr=0.1, momentum=0.9))
        last = {
            "poly": lambda: PolyLR(optimizer, power=0.9, end=max_epochs + 1),
            "poly by iteration": lambda: PolyLR(optimizer, end=max_epochs * LENGTH + 1, by_epoch=False),
            "cosine": lambda: CosineAnnealingLR(optimizer, T_max=max_epochs, end=max_epochs),
            "steps": lambda: MultiStepLR(optimizer, milestones=[2], gamma=0.1),
            "steps that move": lambda: MultiStepLR(
                optimizer, [round(max_epochs * LENGTH * 0.45)], gamma=0.1, by_epoch=False
            ),
        }[kind]()
        schedules = [LinearLR(optimizer, start_factor=0.1, end=4, by_epoch=False), last]
        weight.grad = torch.ones(1)
        for iteration in range(1, iterations + 1):
            optimizer.step()
            for schedule in schedules:
                if not schedule.by_epoch or iteration % LENGTH == 0:
                    schedule.step()
        state = {"optimizer": optimizer.state_dict(), "param_schedulers": [s.state_dict() for s in schedules]}
        state |= {"epoch": iterations // LENGTH, "batch": iterations % LENGTH, "iter": iterations}
        return optimizer, schedules, copy.deepcopy(state | {"max_epochs": max_epochs})

    return through


@pytest.mark.parametrize("iterations", [2, 12, 13])
@pytest.mark.parametrize("kind", ["poly", "poly by iteration", "cosine", "steps", "steps that move"])
def test_another_last_epoch(run, kind, iterations):
    expected = run(kind, 9, iterations)[0].get_lr()["lr"]
    state = run(kind, 5, iterations)[2]
    optimizer, schedules, _ = run(kind, 9, 0)
    said = load_schedules(optimizer, schedules, state, 9)
    assert optimizer.get_lr()["lr"] == pytest.approx(expected)
    goes_on = kind == "steps"
    assert said.startswith(f"max_epochs=9 (was 5): from epoch {iterations // LENGTH + 1} on the learning rate")
    assert ("goes on at" in said) is goes_on


def test_the_same_last_epoch_is_not_said(run):
    state = run("poly", 5, 7)[2]
    optimizer, schedules, _ = run("poly", 5, 0)
    assert load_schedules(optimizer, schedules, state, 5) is None
    assert optimizer.get_lr()["lr"][0] == state["optimizer"]["param_groups"][0]["lr"]
    assert [s.state_dict() for s in schedules] == state["param_schedulers"]
