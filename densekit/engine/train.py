"""``densekit train``: from a config file and a prepared folder to best.pth, last.pth, logs and pictures."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process

from densekit.engine.config import VolumePlan, load_config
from densekit.engine.folder import check_continued, choose_folder
from densekit.engine.runner import VolumeRunner, build_runner, join_processes
from densekit.errors import ConfigError
from densekit.io import output_error, write_json_atomic
from densekit.package import plain_config


def train(
    config: str | Path,
    *,
    data: str | Path | None = None,
    work_dir: str | Path | None = None,
    resume: bool = False,
    load_from: str | Path | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    amp: str | None = None,
    options: Sequence[str] = (),
    launcher: str = "none",
) -> VolumeRunner:
    """Train a network.

    Args:
        config: Config file.
        data: Prepared folder that replaces the config's ``data_root``.
        work_dir: Where everything is written; default ``runs/<config>/<time>``. With ``resume``, the folder of the run
            to continue, by default the newest of this config.
        resume: Continue from ``last.pth``; the result is the one of an uninterrupted run.
        load_from: Checkpoint whose weights to start from.
        seed: Replaces the config's seed.
        deterministic: Only deterministic kernels; slower on a GPU.
        amp: Replaces the config's ``amp``.
        options: ``key=value`` overrides of the config.
        launcher: ``"pytorch"`` under torchrun, else ``"none"``.

    Returns:
        The Runner after training; its ``work_dir`` holds best.pth, last.pth, scalars.csv, curves.png and pictures/.

    Raises:
        ConfigError, DataError, CheckpointError, OutputError: for what the user can put right.
    """
    if resume and load_from is not None:
        raise ConfigError("--resume and --load-from contradict each other: a resumed run goes on from its own last.pth")
    cfg = load_config(config, options)
    for key, value in (
        ("load_from", load_from and str(load_from)),
        ("seed", seed),
        ("deterministic", deterministic or None),
        ("amp", amp),
    ):
        if value is not None:
            cfg[key] = value
    plan = VolumePlan(cfg, data)
    plan.check_training()
    if launcher == "pytorch":
        join_processes()
    folder = choose_folder(Path(config).stem, work_dir, resume)
    changes = check_continued(folder, resolved(plan)) if resume else []
    with _one_line_errors(folder):
        runner = build_runner(plan, folder, resume=resume, launcher=launcher)
        if is_main_process():
            write_json_atomic(folder / "config.json", resolved(plan))
            for line in describe(plan):
                runner.logger.info(line)
            for line in cautions(plan) + changes:
                runner.logger.warning(line)
        started = time.perf_counter()
        runner.train()
    if is_main_process():
        minutes = (time.perf_counter() - started) / 60
        runner.logger.info(
            f"epoch {runner.epoch} of {cfg.max_epochs} after {minutes:.1f} minutes: {folder / 'best.pth'}, "
            f"curves in {folder / 'curves.png'}"
        )
    return runner


@contextmanager
def _one_line_errors(folder: Path) -> Iterator[None]:
    """What a full disk, a read-only folder or a small GPU does to a run, as an error with its remedy."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"the GPU's memory is too small for this run ({str(error).partition('.')[0]}); lower batch_size "
            f"(accumulate makes up for it) or patch_size, or set --amp bf16"
        ) from error
    except OSError as error:
        inside = error.filename and Path(error.filename).resolve().is_relative_to(folder.resolve())
        if not inside and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            raise
        raise output_error(error.filename or folder, error) from error


def resolved(plan: VolumePlan) -> dict[str, Any]:
    """The whole run as plain values: every key of the config as it was used, and what was derived from the data set."""
    config = {k: plain_config(_named(v)) for k, v in plan.config.items() if k != "model"}
    return {
        **config,
        "data_root": str(plan.root),
        "model": plain_config(plan.model()),
        "train_pipeline": plain_config(plan.pipeline()),
        "schedule": plain_config(plan.schedule()),
        "inference": plain_config(plan.inference()),
        "convention": plan.convention,
        "labels": list(plan.store.labels),
        "scored": list(plan.store.scored),
        "preprocessing": plan.store.preprocessing.to_dict(),
    }


def _named(value: Any) -> Any:
    """Classes outside the MODELS registry (optimizers, hooks) by their own name."""
    if isinstance(value, dict):
        return {k: _named(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_named(v) for v in value]
    return value.__name__ if isinstance(value, type) else value


def describe(plan: VolumePlan) -> list[str]:
    """What the run is about, in a few lines for the log."""
    c, store = plan.config, plan.store
    scored = set(store.scored)
    unscored = [name for name in store.labels[1:] if name not in scored]
    lines = [
        f"data set {store.name} ({plan.root}): {len(plan.cases(c.train_split))} training cases ({c.train_split}), "
        f"{len(plan.cases(c.val_split))} validation cases ({c.val_split}), {len(store.labels) - 1} classes"
        + (f", not scored: {', '.join(unscored)}" if unscored else ""),
        f"patch {'x'.join(map(str, plan.patch_size))}, batch {c.batch_size}, {c.max_epochs} epochs of "
        f"{c.iterations_per_epoch} iterations, empty masks scored by the {plan.convention!r} convention",
    ]
    if not plan.validates:
        lines.append("no validation cases: best.pth will be the last epoch")
    return lines


def cautions(plan: VolumePlan) -> list[str]:
    """What is allowed and yet may not be meant."""
    train_split, val_split = plan.config.train_split, plan.config.val_split
    shared = set(plan.cases(train_split)) & set(plan.cases(val_split))
    if not shared:
        return []
    return [
        f"{len(shared)} cases are in train_split={train_split} and in val_split={val_split}: best.pth is chosen by "
        f"cases it was trained on (val_split=None does without a choice)"
    ]
