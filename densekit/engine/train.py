"""``densekit train``: from a config file and a prepared folder to best.pth, last.pth, logs and pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process

from densekit.engine.config import VolumePlan, load_config
from densekit.engine.runner import VolumeRunner, build_runner
from densekit.errors import ConfigError, OutputError
from densekit.io.atomic import write_json_atomic
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
    folder = _work_dir(Path(config).stem, work_dir, resume)
    if resume and work_dir is not None and not (folder / "last.pth").exists():
        raise ConfigError(f"--resume: there is no last.pth in {folder}; leave --resume out to start a new run")
    if cfg.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: the work folder cannot be made ({error.strerror}); choose another with --work-dir"
        ) from error
    runner = build_runner(plan, folder, resume=resume, launcher=launcher)
    if is_main_process():
        write_json_atomic(folder / "config.json", resolved(plan))
        for note in describe(plan):
            runner.logger.info(note)
    started = time.perf_counter()
    runner.train()
    if is_main_process():
        minutes = (time.perf_counter() - started) / 60
        runner.logger.info(
            f"trained {runner.epoch} epochs in {minutes:.1f} minutes: {folder / 'best.pth'}, "
            f"curves in {folder / 'curves.png'}"
        )
    return runner


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


def _work_dir(name: str, given: str | Path | None, resume: bool) -> Path:
    if given is not None:
        return Path(given)
    base = Path("runs") / name
    if resume:
        runs = sorted(p.parent for p in base.glob("*/last.pth"))
        if not runs:
            raise ConfigError(f"--resume: no run with a last.pth under {base}; give its folder with --work-dir")
        return runs[-1]
    return base / time.strftime("%Y%m%d_%H%M%S")
