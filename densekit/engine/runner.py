"""MMEngine's Runner with checkpoints that are data, and the building of one from a plan."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner as _Runner
from torch.utils.data import DataLoader

from densekit import __version__
from densekit.config_tree import written
from densekit.engine.loop import TrainLoop
from densekit.engine.plan import Plan, deterministic_kernels, quiet_drawing
from densekit.engine.schedules import load_schedules
from densekit.errors import CheckpointError, class_difference, spoken
from densekit.package import Checkpoint, load_checkpoint, load_weights, write_checkpoint
from densekit.registry import RUNNERS
from densekit.stopping import leave_signals_to_parent

LONGEST_MESSAGE = 25
"""Lines; a log message with more is kept off the screen."""


@RUNNERS.register_module()
class Runner(_Runner):
    """A Runner whose checkpoints hold tensors and plain values, and carry what prediction needs.

    Args:
        described: The parts of a checkpoint that do not change during the run: ``task``, ``model_config``,
            ``preprocessing``, ``labels``, ``inference`` and ``meta`` (see :func:`densekit.package.write_checkpoint`).
        start_from: Loads the weights of a file into the network (:meth:`densekit.engine.plan.Plan.load_weights`).
        **runner: Arguments of MMEngine's Runner.
    """

    def __init__(
        self,
        *,
        described: dict[str, Any],
        start_from: Callable[[torch.nn.Module, str], list[str]],
        **runner: Any,
    ) -> None:
        self.described = described
        self.start_from = start_from
        self.resuming = False
        self.started_at = 0
        self._read: Checkpoint | None = None  # what is resumed from, read
        self._started: list[str] | None = None  # what was said when the weights of load_from were loaded
        super().__init__(**runner)

    def build_logger(self, *args: Any, **kwargs: Any) -> Any:
        """MMEngine's logger; its long listings (environment, order of the hooks) go to the file, not to the screen."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_belongs_on_screen)
        return logger

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        """MMEngine's DataLoader, whose processes leave Ctrl-C and the signals of a scheduler to this one."""
        loader = _Runner.build_dataloader(*args, **kwargs)
        loader.worker_init_fn = partial(_prepared, loader.worker_init_fn)
        return loader

    def wrap_model(self, model_wrapper_cfg: dict | None, model: torch.nn.Module) -> torch.nn.Module:
        """Move the model to its device; with several processes, average gradients over them (GPUs or CPUs alike)."""
        model = model.to(training_device())
        if not self.distributed:
            return model
        with warnings.catch_warnings():
            # torch renames the switch; the older releases that setup.py allows know this name only
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            return MMDistributedDataParallel(module=model, broadcast_buffers=False)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """MMEngine's, without a line for every parameter."""
        with quiet_drawing(logging.ERROR):
            return super().build_optim_wrapper(optim_wrapper)

    def write_checkpoint(self, path: Path, *, epoch: int, resumable: bool = True) -> None:
        """Write weights and description of the model atomically, and what ``--resume`` needs if that is wanted."""
        state = {
            "state_dict": {k: v.detach().cpu().clone() for k, v in self.bare_model().state_dict().items()},
            "optimizer": self.optim_wrapper.state_dict(),
            "param_schedulers": [s.state_dict() for s in self.param_schedulers or []],
            "epoch": epoch,
            "iter": self.iter,
            "batch": self.train_loop.batch,
            "max_epochs": self.max_epochs,
            "unvalidated": self.train_loop.unvalidated,
        }
        self.call_hook("before_save_checkpoint", checkpoint=state)
        weights = state.pop("state_dict")
        meta = {
            **self.described["meta"],
            "epoch": epoch,
            "iter": self.iter,
            "seed": self.seed,
            "best_score": state.get("best_score"),
            "versions": {"densekit": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
        }
        write_checkpoint(
            path, **{**self.described, "meta": meta}, state_dict=weights, training=state if resumable else None
        )

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = True, revise_keys: Any = None
    ) -> dict:
        """Start from the weights of a checkpoint (``load_from``)."""
        lines = self.start_from(self.bare_model(), filename) if self._started is None else self._started
        weights = {k: v.clone() for k, v in self.bare_model().state_dict().items()}
        self.call_hook("after_load_checkpoint", checkpoint={"state_dict": weights})
        self._has_loaded = True
        for line in lines:
            self.logger.info(line)
        return {}

    def check_start(self, filename: str | Path) -> None:
        """Load the weights of ``load_from``, before anything is written; they are read once.

        Raises:
            CheckpointError: if they cannot.
        """
        self._started = self.start_from(self.bare_model(), str(filename))

    def check_resumable(self, filename: str | Path) -> Checkpoint:
        """Read a checkpoint of a run that is to be continued, and see that this is the same run.

        Raises:
            CheckpointError: if it holds no training state, or belongs to another seed, other classes or another
                architecture.
        """
        if self._read is not None:
            return self._read
        checkpoint = load_checkpoint(filename, map_location=training_device(), mapped=False)
        if "optimizer" not in checkpoint.training:
            raise CheckpointError(
                f"{filename}: holds weights only, a run cannot be resumed from it; start from it with --load-from"
            )
        seed = checkpoint.meta.get("seed")
        if seed != self.seed:
            raise CheckpointError(
                f"{filename}: was trained with seed {seed}, this run has {self.seed}; resume with --seed={seed}"
            )
        before, now = list(checkpoint.labels), list(self.described["labels"])
        if before != now:
            raise CheckpointError(
                f"{filename}: {class_difference(before, now)}; a run goes on with the classes it was started with; "
                f"give the same data, or start a new run from these weights with --load-from"
            )
        load_weights(self.bare_model(), checkpoint.state_dict, Path(filename))
        self._read = checkpoint
        return checkpoint

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Continue a run as if it had never stopped.

        Raises:
            CheckpointError: if the checkpoint holds no training state, or belongs to another architecture or optimizer.
        """
        checkpoint = self.check_resumable(filename)
        state = {"state_dict": checkpoint.state_dict, **checkpoint.training}
        self.call_hook("after_load_checkpoint", checkpoint=state)
        load_weights(self.bare_model(), state["state_dict"], Path(filename))
        self.train_loop._epoch = self.started_at = state["epoch"]
        self.train_loop._iter = state["iter"]
        self.train_loop.batch, self.train_loop.unvalidated = state.get("batch", 0), state.get("unvalidated", False)
        try:
            line = load_schedules(self.optim_wrapper, self.param_schedulers or [], state, self.max_epochs)
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"{filename}: its optimizer or schedule is not this config's ({error}); resume with the config the run "
                f"was started with, or start a new run from its weights with --load-from"
            ) from error
        self._has_loaded, self._read = True, None
        first = ", which is validated first" if self.train_loop.unvalidated else ""
        self.logger.info(
            f"resumed from {filename}: epoch {self.epoch} of {self.max_epochs}{first}, iteration {self.iter}"
        )
        if line is not None:
            self.logger.info(line)
        if self.epoch >= self.max_epochs:
            self.logger.info(
                "the run is finished, nothing is left to train; a larger max_epochs (--cfg-options) trains on"
            )

    def load_or_resume(self) -> None:
        """Resume from ``last.pth`` of the work folder if asked to, else load ``load_from`` if given."""
        if self._has_loaded:
            return
        last = Path(self.work_dir) / "last.pth"
        if self._resume and last.exists():
            self.resuming = True
            self.resume(str(last))
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)
        if self._resume and not last.exists():
            self.logger.info(spoken(f"--resume: no last.pth in {self.work_dir} yet, starting at epoch 1"))

    def _init_model_weights(self) -> None:
        """The plan has drawn the weights, or loaded them: drawing them again would lose those that were loaded."""

    def dump_config(self) -> None:
        """:func:`build_runner`'s caller writes the config, resolved; MMEngine's own dump is not wanted beside it."""

    def bare_model(self) -> torch.nn.Module:
        """The model without what averages its gradients over processes."""
        return getattr(self.model, "module", self.model)


def build_runner(
    plan: Plan,
    work_dir: Path,
    *,
    carried: Mapping[str, Any] | None = None,
    drawing: Sequence[Hook] = (),
    resume: bool = False,
    launcher: str = "none",
) -> Runner:
    """Build the Runner of a plan.

    Args:
        plan: The checked config with its data set.
        work_dir: Where checkpoints, logs and pictures go.
        carried: Settings that a test of its checkpoints reads.
        drawing: Hooks that draw.
        resume: Continue from ``work_dir/last.pth`` if there is one.
        launcher: ``"none"``, or ``"pytorch"`` after :func:`join_processes`.
    """
    c = plan.config
    continued = resume and (work_dir / "last.pth").exists()
    described = plan.described()
    described["meta"]["settings"] = written(carried or {})
    runner = Runner(
        described=described,
        start_from=plan.load_weights,
        # built here: the Runner would set the seed only after the weights are drawn
        model=plan.network(fresh=not continued and c.load_from is None),
        work_dir=str(work_dir),
        train_dataloader=plan.train_loader(),
        train_cfg={"type": TrainLoop, "max_epochs": c.max_epochs, "val_interval": c.val_interval},
        optim_wrapper=plan.optim_wrapper(),
        param_scheduler=plan.schedule() or None,
        **(plan.validation(work_dir) if plan.validates else {}),
        default_hooks={
            "logger": {"type": "LoggerHook", "interval": c.log_interval},
            "checkpoint": {
                "type": "densekit.BestAndLastHook",
                "interval": c.checkpoint_interval,
                "metric": plan.score,
                "beside": list(plan.beside),
            },
        },
        custom_hooks=[*drawing, *plan.hooks()],
        load_from=c.load_from,
        resume=resume,
        launcher=launcher,
        visualizer={"type": "Visualizer", "vis_backends": [{"type": "TensorboardVisBackend"}]},
        default_scope=plan.scope,
        randomness={"seed": c.seed, "deterministic": c.deterministic},
        experiment_name=Path(work_dir).name,
    )
    if c.deterministic:
        deterministic_kernels()
    return runner


def training_device() -> torch.device:
    """The device that is trained on; ``densekit doctor`` says the same."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _prepared(seed: Callable[[int], None] | None, worker: int) -> None:
    """Start a data process."""
    leave_signals_to_parent()
    if seed is not None:
        seed(worker)


def _belongs_on_screen(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return message.count("\n") < LONGEST_MESSAGE and not message.startswith("Exp name:")
