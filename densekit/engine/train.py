"""``densekit train``: from a config file and a prepared folder to best.pth, last.pth, logs and pictures."""

from __future__ import annotations

import copy
import errno
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.optim import build_optim_wrapper

from densekit.engine.config import load_config, make_plan
from densekit.engine.folder import check_continued, choose_folder
from densekit.engine.origin import origins, write_resolved
from densekit.engine.plan import Plan
from densekit.engine.preflight import DryRun, dry_run, fitting_batch
from densekit.engine.runner import Runner, build_runner, training_device
from densekit.errors import ConfigError, DensekitError
from densekit.io import output_error, write_json_atomic
from densekit.processes import join_processes, leave_processes, main_first

logger = logging.getLogger("densekit")

FROM_DATA = "from the data set"
"""Origin of what no file and no option sets."""


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
) -> Runner:
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
        The Runner after training; its ``work_dir`` holds best.pth, last.pth, config.txt (every value and where it was
        set), scalars.csv, curves.png, pictures/ and, of a detector, report.html.

    Raises:
        ConfigError, DataError, CheckpointError, OutputError: for what the user can put right.
    """
    if resume and load_from is not None:
        raise ConfigError("--resume and --load-from contradict each other: a resumed run goes on from its own last.pth")
    given = {"load_from": load_from, "seed": seed, "deterministic": deterministic or None, "amp": amp}
    if launcher == "pytorch":
        join_processes()
    plan, places = _plan(config, data, options, given)
    cfg = plan.config
    asked = dict(cfg.items())
    lowered = fit_batch(plan)
    changed = [key for key, value in asked.items() if cfg[key] != value]
    places |= dict.fromkeys(changed, "follows from the batch that the GPU's memory takes")
    kept = work_dir is not None and Path(work_dir).exists()
    folder = choose_folder(Path(config).stem, work_dir, resume)
    changes = check_continued(folder, plan.resolved()) if resume else []
    with _one_line_errors(folder, plan), _no_empty_run(folder, keep=resume or kept):
        runner = build_runner(plan, folder, resume=resume, launcher=launcher)
        # before anything is written: what is loaded may not fit
        if resume and (folder / "last.pth").exists():
            runner.check_resumable(folder / "last.pth")
        elif cfg.load_from is not None:
            runner.check_start(cfg.load_from)
        if is_main_process():
            values = plan.resolved()
            write_json_atomic(folder / "config.json", values)
            write_resolved(
                folder / "config.txt", values, {**dict.fromkeys(values, FROM_DATA), **places, **plan.derived()}
            )
            for line in plan.describe():
                runner.logger.info(line)
            for line in [*filter(None, [lowered]), *plan.cautions(), *changes]:
                runner.logger.warning(line)
            for line in plan.before_training(runner):
                runner.logger.info(line)
        started = time.perf_counter()
        runner.train()
        if is_main_process():
            minutes = (time.perf_counter() - started) / 60
            for line in plan.after_training(runner, minutes):
                runner.logger.info(line)
            runner.logger.info(
                f"epoch {runner.epoch} of {cfg.max_epochs} after {minutes:.1f} minutes: {folder / 'best.pth'}, "
                f"curves in {folder / 'curves.png'}"
            )
        if launcher == "pytorch":
            runner.model = runner.bare_model()
            leave_processes()
    return runner


def _plan(
    config: str | Path, data: str | Path | None, options: Sequence[str], given: Mapping[str, Any]
) -> tuple[Plan, dict[str, str]]:
    """The checked plan of a run, and where its values come from.

    Args:
        config: Config file.
        data: Data set that replaces ``data_root``.
        options: ``key=value`` overrides.
        given: Keys that options of the command line of their own replace; None: not given.
    """
    cfg = load_config(config, options)
    places = origins(Path(config), options)
    for key, value in given.items():
        if value is not None:
            cfg[key] = str(value) if isinstance(value, Path) else value
            places[key] = f"--{key.replace('_', '-')}"
    plan = main_first(lambda: make_plan(cfg, data))
    if data is not None:
        places["data_root"] = "--data"
    plan.check_training()
    return plan, places


def try_out(
    config: str | Path,
    *,
    data: str | Path | None = None,
    load_from: str | Path | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    amp: str | None = None,
    options: Sequence[str] = (),
) -> DryRun:
    """Two training steps on the largest batch that the training can meet (``--dry-run``); nothing is written.

    Arguments as :func:`train`.

    Raises:
        ConfigError, DataError: for what the user can put right, a memory too small for one image included.
    """
    given = {"load_from": load_from, "seed": seed, "deterministic": deterministic or None, "amp": amp}
    plan, _ = _plan(config, data, options, given)
    lines = [fit_batch(plan)]
    model = plan.network(fresh=False)
    if plan.config.load_from is not None:
        lines += plan.load_weights(model, plan.config.load_from)
    elif plan.config.get("pretrained", False) is not False:
        lines.append(f"pretrained={plan.config.pretrained!r} is not looked for in a dry run: random weights")
    for line in filter(None, lines):
        logger.warning(line)
    model = model.to(training_device())
    wrapper = build_optim_wrapper(model, plan.optim_wrapper())
    return dry_run(model, wrapper, plan.worst_batch(plan.config.batch_size), iterations=plan.iterations_per_epoch)


def fit_batch(plan: Plan) -> str | None:
    """Lower the batch size of a plan to what the GPU's memory takes, and raise ``accumulate`` to make up for it.

    Without a GPU nothing is tried: a CPU's memory gives way by swapping, not by an error.

    Returns:
        A line that says so, or None if nothing was changed.

    Raises:
        ConfigError: if not even one sample fits.
    """
    device = training_device()
    if device.type == "cpu":
        return None
    model = plan.network(fresh=False).to(device)
    wrapper = build_optim_wrapper(model, plan.optim_wrapper())
    worst = plan.worst_batch(plan.config.batch_size)
    # The moving average is a network of its own, and so large are the buffers that processes average gradients in.
    beside = [copy.deepcopy(model) for needed in (plan.config.ema is not None, get_world_size() > 1) if needed]
    chosen = fitting_batch(
        lambda size: dry_run(model, wrapper, worst.first(size)),
        plan.config.batch_size,
        plan.config.accumulate,
        worst=worst,
        smaller=plan.smaller,
    )
    chosen = min(all_gather_object(chosen), key=lambda found: found[0])  # all processes take the same
    del beside
    batch_size, accumulate, line = chosen
    if line is not None:
        plan.lower(batch_size, accumulate)
    return line


@contextmanager
def _no_empty_run(folder: Path, *, keep: bool) -> Iterator[None]:
    """Take the work folder away again if the run could not start (a missing file, weights that do not fit).

    Args:
        folder: The work folder.
        keep: It was there before.
    """
    try:
        yield
    except DensekitError:
        if not keep and is_main_process() and not any(folder.glob("*.csv")) and not any(folder.glob("*.pth")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _one_line_errors(folder: Path, plan: Plan) -> Iterator[None]:
    """What a full disk, a read-only folder or a small GPU does to a run, as an error with its remedy."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"the GPU's memory is too small for this run ({str(error).partition('.')[0]}); lower batch_size "
            f"(accumulate makes up for it) or {plan.smaller}, or set --amp bf16"
        ) from error
    except OSError as error:
        inside = error.filename and Path(error.filename).resolve().is_relative_to(folder.resolve())
        if not inside and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            raise
        raise output_error(error.filename or folder, error) from error
