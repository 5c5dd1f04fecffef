"""The learning rate of a run that goes on, to the epoch it was meant for or to another one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapper, _ParamScheduler

FITTED = ("begin", "end", "T_max", "total_iters", "step_size", "milestones")
"""What of a schedule may follow from the number of epochs."""


def load_schedules(
    optimizer: OptimWrapper, schedules: Sequence[_ParamScheduler], state: Mapping[str, Any], max_epochs: int
) -> str | None:
    """Load optimizer and schedules of a checkpoint.

    With another number of epochs, schedules that end with the run are stretched: from here on each epoch has the
    learning rate that it has in a run of so many epochs. Those that name their steps themselves, or have no end, go on
    as they are.

    Args:
        optimizer: The run's.
        schedules: Just built, for ``max_epochs``.
        state: The checkpoint's training state.
        max_epochs: Of the run now.

    Returns:
        What is done about the learning rate, if the number of epochs has changed.

    Raises:
        ValueError, KeyError: if they are others than the checkpoint's.
    """
    start = [{s.param_name: group[s.param_name] for s in schedules} for group in optimizer.param_groups]
    optimizer.load_state_dict(state["optimizer"])
    before, pairs = optimizer.get_lr()["lr"][0], list(zip(schedules, state["param_schedulers"], strict=True))
    stretched = state.get("max_epochs", max_epochs) != max_epochs and any(
        vars(schedule).get(key) != saved.get(key) for schedule, saved in pairs for key in FITTED
    )
    if stretched:
        for group, values in zip(optimizer.param_groups, start, strict=True):
            group.update(values)
        _replay(schedules, state)
    else:
        for schedule, saved in pairs:
            schedule.load_state_dict(saved)
    if state.get("max_epochs", max_epochs) == max_epochs:
        return None
    said = f"max_epochs={max_epochs} (was {state['max_epochs']}): from epoch {state['epoch'] + 1} on the learning rate"
    if not stretched:
        return f"{said} goes on at {before:.4g}, its schedule does not depend on max_epochs"
    return f"{said} is that of a run of {max_epochs} epochs, {optimizer.get_lr()['lr'][0]:.4g} (it was at {before:.4g})"


def _replay(schedules: Sequence[_ParamScheduler], state: Mapping[str, Any]) -> None:
    """Take the steps that are done, in the order of a training: each value follows from the one before."""
    epochs, iterations = state["epoch"], state["iter"]
    length = (iterations - state["batch"]) // epochs if epochs else iterations + 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `scheduler.step")  # no optimizer steps here
        for iteration in range(1, iterations + 1):
            for schedule in schedules:
                if not schedule.by_epoch:
                    schedule.step()
            if iteration % length == 0:
                for schedule in schedules:
                    if schedule.by_epoch:
                        schedule.step()
