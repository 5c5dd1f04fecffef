"""From a config with its data set to best.pth, last.pth, logs and pictures; also a dry run of it."""

from __future__ import annotations

import copy
import errno
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.optim import build_optim_wrapper

from densekit.engine.folder import check_continued, choose_folder
from densekit.engine.origin import write_resolved
from densekit.engine.plan import Plan, quiet_drawing
from densekit.engine.preflight import DryRun, dry_run, fitting_batch, sizes_explained
from densekit.engine.run_report import RunReport
from densekit.engine.runner import Runner, build_runner, training_device
from densekit.errors import ConfigError, DensekitError
from densekit.io import output_error, write_json_atomic
from densekit.package import Checkpoint
from densekit.package.seen import changed, leak, trained_on
from densekit.processes import join_processes, leave_processes, main_first
from densekit.stopping import Stopped, stopping_at_once, stopping_softly

logger = logging.getLogger("densekit")

FROM_DATA = "from the data set"
"""Origin of what no file and no option sets."""


@dataclass(frozen=True)
class Setup:
    """What a run is made of, before anything is read.

    Attributes:
        config: Complete.
        places: Where each key comes from.
        plan: Checks its values and reads the data set.
        report: What a run of a plan tells.
        carried: Keys that the checkpoint carries, for ``densekit test``.
    """

    config: Config
    places: dict[str, str]
    plan: Callable[[Config], Plan]
    report: Callable[[Plan], RunReport]
    carried: tuple[str, ...] = ()

    def ready(self) -> tuple[Plan, RunReport]:
        """The checked plan of a run, and its words."""
        plan = main_first(lambda: self.plan(self.config))
        plan.check_training()
        return plan, self.report(plan)


@stopping_at_once()
def train(
    setup: Setup,
    *,
    work_dir: str | Path | None = None,
    resume: bool = False,
    launcher: str = "none",
) -> Runner:
    """Train a network.

    Args:
        setup: Config and data set.
        work_dir: Where everything is written; default ``runs/<config>/<time>``. With ``resume``, the folder of the run
            to continue, by default the newest of this config.
        resume: Continue from ``last.pth``; the result is the one of an uninterrupted run. With a larger ``max_epochs``
            a finished run is trained on, see :mod:`densekit.engine.schedules`.
        launcher: ``"pytorch"`` under torchrun, else ``"none"``.

    Raises:
        ConfigError, DataError, CheckpointError, OutputError: for what the user can put right.
        Stopped: if a signal ended it, see :class:`densekit.engine.loop.TrainLoop`.
    """
    if resume and setup.places.get("load_from") == "--load-from":
        raise ConfigError("--resume and --load-from contradict each other: a resumed run goes on from its own last.pth")
    if launcher == "pytorch":
        join_processes()
    plan, report = setup.ready()
    cfg, places = plan.config, setup.places
    lowered = _fit(plan, places)
    kept = work_dir is not None and Path(work_dir).exists()
    folder = choose_folder(Path(cfg.filename).stem, work_dir, resume)
    changes = check_continued(folder, plan.resolved(), plan.iterations_per_epoch) if resume else []
    with _one_line_errors(folder, plan), _no_empty_run(folder, keep=resume or kept):
        drawing = report.hooks() if cfg.pictures and plan.validates else []
        carried = {key: plan.config[key] for key in setup.carried} | {"data_root": plan.resolved()["data_root"]}
        runner = build_runner(plan, folder, carried=carried, drawing=drawing, resume=resume, launcher=launcher)
        # before anything is written: what is loaded may not fit
        last = folder / "last.pth"
        if resume and last.exists():
            changes += _compared(plan, runner.check_resumable(last), goes_on=True)
        elif cfg.load_from is not None:
            runner.check_start(cfg.load_from)
            changes += _compared(plan, cfg.load_from, goes_on=False)
        if is_main_process():
            _write_config(folder, plan, {**places, **report.derived()})
            _tell(
                runner,
                [*report.describe(), *report.averaged()],
                [*filter(None, [lowered]), *report.cautions(), *changes],
            )
            _tell(runner, report.before_training(runner))
        started = time.perf_counter()
        _train(runner, last)
        if is_main_process():
            minutes = (time.perf_counter() - started) / 60
            done = f"epoch {runner.epoch} of {cfg.max_epochs} after {minutes:.1f} minutes: {folder / 'best.pth'}"
            done += f" ({report.kept(runner)})"
            _tell(runner, [*report.after_training(runner, minutes), f"{done}, curves in {folder / 'curves.png'}"])
        if launcher == "pytorch":
            runner.model = runner.bare_model()
            leave_processes()
    return runner


def _train(runner: Runner, last: Path) -> None:
    """Train; a run that is stopped says in its log how far it is."""
    try:
        with stopping_softly(runner.logger.warning):
            runner.train()
    except Stopped as stopped:
        together = stopped.folder is not None  # all processes have come to this point
        stopped.folder = last.parent if last.exists() else None
        if is_main_process():
            runner.logger.warning(f"{stopped}; {last} has all up to there" if together else str(stopped))
        if together and runner.distributed:
            leave_processes()
        raise


def _compared(plan: Plan, before: str | Path | Checkpoint, *, goes_on: bool) -> list[str]:
    """How the cases of a run differ from those that its weights were trained on, in lines for the log."""
    c, seen = plan.config, trained_on(before)
    if not seen:
        return []
    lines = changed(seen, plan.hashes(c.train_split), f"train_split={c.train_split}") if goes_on else []
    source = before.path if isinstance(before, Checkpoint) else before
    scored = plan.hashes(c.val_split) if plan.validates else {}
    own = set(plan.hashes(c.train_split).values())  # a split that is trained and validated on is said elsewhere
    others = {name: found for name, found in scored.items() if found not in own}
    return lines + leak(seen, others, f"val_split={c.val_split}", source)


def _fit(plan: Plan, places: dict[str, str]) -> str | None:
    """See :func:`fit_batch`; what it changes has that as its origin."""
    asked = dict(plan.config.items())
    line = fit_batch(plan)
    changed = [key for key, value in asked.items() if plan.config[key] != value]
    places |= dict.fromkeys(changed, "follows from the batch that the GPU's memory takes")
    return line


def _tell(runner: Runner, lines: Sequence[str], warnings: Sequence[str] = ()) -> None:
    for line in lines:
        runner.logger.info(line)
    for line in warnings:
        runner.logger.warning(line)


def _write_config(folder: Path, plan: Plan, places: Mapping[str, str]) -> None:
    """Write config.json, which ``--resume`` compares with, and config.txt, to be read."""
    values = plan.resolved()
    write_json_atomic(folder / "config.json", values)
    write_resolved(folder / "config.txt", values, {**dict.fromkeys(values, FROM_DATA), **places})


@stopping_at_once()
def try_out(setup: Setup) -> DryRun:
    """Two training steps on the largest batch that the training can meet (``--dry-run``); nothing is written.

    Raises:
        ConfigError, DataError: for what the user can put right, a memory too small for one sample included.
    """
    plan, report = setup.ready()
    lines = [fit_batch(plan)]
    model = plan.network(fresh=False)
    if plan.config.load_from is not None:
        lines += plan.load_weights(model, plan.config.load_from)
    else:
        lines += report.untried()
    for line in report.describe():
        logger.info(line)
    for line in [*filter(None, lines), *report.cautions()]:
        logger.warning(line)
    model = model.to(training_device())
    with quiet_drawing(logging.ERROR):
        wrapper = build_optim_wrapper(model, plan.optim_wrapper())
    logger.info("reading the largest batch that the training can meet")
    worst = plan.worst_batch(plan.config.batch_size)
    logger.info("trying training steps on %s", worst.described())
    with sizes_explained(plan.smaller):
        return dry_run(model, wrapper, worst, iterations=plan.iterations_per_epoch)


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
    worst = plan.worst_batch(plan.config.batch_size)

    def trial(size: int) -> None:
        # Anew for each: what ran out of memory has half-made states, and weights that may be no numbers any more.
        model = plan.network(fresh=False).to(device)
        # The moving average is a network of its own, and so large are the buffers that processes average gradients in.
        beside = [copy.deepcopy(model) for needed in (plan.config.ema is not None, get_world_size() > 1) if needed]
        with quiet_drawing(logging.ERROR):
            wrapper = build_optim_wrapper(model, plan.optim_wrapper())
        dry_run(model, wrapper, worst.first(size))
        del beside

    chosen = fitting_batch(trial, plan.config.batch_size, plan.config.accumulate, worst=worst, smaller=plan.smaller)
    chosen = min(all_gather_object(chosen), key=lambda found: found[0])  # all processes take the same
    batch_size, accumulate, line = chosen
    if line is not None:
        plan.lower(batch_size, accumulate)
    return line


@contextmanager
def _no_empty_run(folder: Path, *, keep: bool) -> Iterator[None]:
    """Take the work folder away again if the run did not start (a missing file, weights that do not fit, a signal).

    Args:
        folder: The work folder.
        keep: It was there before.
    """
    try:
        yield
    except (DensekitError, KeyboardInterrupt):
        if not keep and is_main_process() and not any(folder.glob("*.csv")) and not any(folder.glob("*.pth")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _one_line_errors(folder: Path, plan: Plan) -> Iterator[None]:
    """What a full disk, a read-only folder or a small GPU does to a run, as an error with its remedy."""
    try:
        with sizes_explained(plan.smaller):
            yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"the GPU's memory is too small for this run ({str(error).partition('.')[0]}); lower batch_size "
            f"(accumulate makes up for it) or {plan.smaller}, or set --amp=bf16"
        ) from error
    except OSError as error:
        inside = error.filename and Path(error.filename).resolve().is_relative_to(folder.resolve())
        if not inside and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            raise
        raise output_error(error.filename or folder, error) from error
