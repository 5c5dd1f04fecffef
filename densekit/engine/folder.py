"""The work folder of a run: a new one for a new run, and for ``--resume`` the one of the run to go on with."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process

from densekit.config_tree import flat
from densekit.engine.schedules import FITTED
from densekit.errors import ConfigError, DensekitError, OutputError
from densekit.package import load_checkpoint

RESTORED = ("optimizer", "schedule", "ema", "seed")
"""Keys whose state comes out of last.pth: another value would be ignored, or would not fit that state."""

NOT_RESULTS = ("data_root", "num_workers", "log_interval", "checkpoint_interval", "pictures", "load_from")
"""Keys that may change in a resumed run without changing what it learns."""


def choose_folder(name: str, given: str | Path | None, resume: bool) -> Path:
    """Choose the work folder and make it; all processes of a run get the same.

    Args:
        name: Of the config; a new run without a folder of its own goes to ``runs/<name>/<time>``.
        given: ``--work-dir``.
        resume: Whether a run is continued; without ``given`` the one whose ``last.pth`` is the newest.

    Raises:
        ConfigError: if there is no run to continue, or a new run would overwrite one.
        OutputError: if the folder cannot be made.
    """
    chosen: list[Path | DensekitError | None] = [None]
    if is_main_process():
        try:
            chosen[0] = _run_to_continue(name, given) if resume else _new_folder(name, given)
        except DensekitError as error:
            chosen[0] = error
    broadcast_object_list(chosen)
    if isinstance(chosen[0], DensekitError):
        raise chosen[0]
    return chosen[0]


def _run_to_continue(name: str, given: str | Path | None) -> Path:
    if given is not None:
        if not (Path(given) / "last.pth").exists():
            raise ConfigError(f"--resume: there is no last.pth in {given}; leave --resume out to start a new run")
        return Path(given)
    base = Path("runs") / name
    runs = sorted(base.glob("*/last.pth"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise ConfigError(f"--resume: no run with a last.pth under {base}; give its folder with --work-dir")
    return runs[-1].parent


def _new_folder(name: str, given: str | Path | None) -> Path:
    try:
        if given is None:
            return _folder_of_its_own(Path("runs") / name)
        folder = Path(given)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = given or Path("runs") / name
        raise OutputError(
            f"{where}: the work folder cannot be made ({error.strerror}); choose another with --work-dir"
        ) from error
    for file in ("last.pth", "best.pth"):
        if (folder / file).exists():
            raise ConfigError(
                f"{folder}: holds a run already ({file}), which a new run would overwrite; give --resume to go on with "
                f"it, another --work-dir, or remove the folder"
            )
    return folder


def _folder_of_its_own(base: Path) -> Path:
    """``base/<time>``, numbered if another run was started in the same second."""
    now, number = time.strftime("%Y%m%d_%H%M%S"), 1
    while True:
        folder = base / (now if number == 1 else f"{now}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def check_continued(folder: Path, config: Mapping[str, Any], iterations: int) -> list[str]:
    """Compare the config of a run that is continued with the one it was started with (``config.json``).

    Args:
        folder: The run's folder.
        config: All keys as they are now, plain values.
        iterations: Of an epoch now.

    Returns:
        Lines for the log: what has changed.

    Raises:
        ConfigError: if a key has changed whose state comes out of ``last.pth``, or max_epochs to what is done already.
    """
    try:
        before = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [f"{folder / 'config.json'} is gone or unreadable: whether the config has changed is not known"]
    now = json.loads(json.dumps(config))
    changed = {}
    for key in sorted(now.keys() & before.keys() - set(NOT_RESULTS)):
        old, new = flat(before[key], key), flat(now[key], key)
        changed |= {
            name: f"{name}={new.get(name)!r} (was {old.get(name)!r})"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        }
    refused = {name: change for name, change in changed.items() if name.partition(".")[0] in RESTORED}
    if "max_epochs" in changed:
        _check_epochs(folder, now["max_epochs"])
    if {"max_epochs", "max_iters"} & changed.keys():
        _check_length(before, now)
    # the end of a schedule changes with it, see engine/schedules.py; one that goes by scores has no end to move
    if "max_epochs" in changed and "Plateau" not in str(now["schedule"]):
        ends = {name for name in refused if name.endswith((".end", ".T_max"))}
        changed = {name: change for name, change in changed.items() if name not in ends}
        ends |= _fitted(before, now, iterations)
        refused = {name: change for name, change in refused.items() if name not in ends}
    if refused:
        raise ConfigError(
            f"--resume: {', '.join(refused.values())}, but a run goes on with the {', '.join(RESTORED)} it was started "
            f"with; leave it as it was, or start a new run from these weights with --load-from={folder / 'last.pth'}"
        )
    return [f"changed since the run was started: {change}" for change in changed.values()]


def _check_length(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse epochs of another length, where a config gives the steps of the whole run (``max_iters``)."""
    old, new = ((c.get("max_iters"), c["max_epochs"]) for c in (before, now))
    if (old[0] and old[0] / old[1]) != (new[0] and new[0] / new[1]):
        raise ConfigError(
            f"--resume: max_iters={new[0]} in max_epochs={new[1]} makes epochs of another length than those of the "
            f"run, max_iters={old[0]} in max_epochs={old[1]}; raise both in proportion"
        )


def _fitted(before: Mapping[str, Any], now: Mapping[str, Any], iterations: int) -> set[str]:
    """Return what of the schedules is fitted to the number of epochs, as those of MMDetection's configs are.

    Their steps move with it and are counted in iterations, but for the number of epochs that the config itself names.
    """
    ratio, names = now["max_epochs"] / before["max_epochs"], set()
    for number, (old, new) in enumerate(zip(before["schedule"], now["schedule"], strict=False)):
        keys = [key for key in FITTED if key in old and key in new]
        # what is counted in iterations was rounded to them, and an end may be moved by one
        (was, off), (becomes, other_off) = ((iterations, 0) if s["by_epoch"] else (1, 1) for s in (old, new))
        moved = [step * was * ratio for step in _steps(old, keys)]
        steps = [step * becomes for step in _steps(new, keys)]
        slack = off * ratio + other_off + 1e-6
        if keys and len(moved) == len(steps) and all(abs(a - b) <= slack for a, b in zip(moved, steps, strict=True)):
            names |= {f"schedule.{number}.{key}" for key in (*keys, "by_epoch")}
    return names


def _steps(schedule: Mapping[str, Any], keys: Sequence[str]) -> list[float]:
    return [step for key in keys for step in (schedule[key] if isinstance(schedule[key], list) else [schedule[key]])]


def _check_epochs(folder: Path, max_epochs: int) -> None:
    done = load_checkpoint(folder / "last.pth").meta["epoch"]
    if max_epochs <= done:
        raise ConfigError(
            f"--resume: max_epochs={max_epochs}, but {folder / 'last.pth'} has {done} epochs done; give a larger number"
        )
