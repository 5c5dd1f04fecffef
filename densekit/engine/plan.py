"""What all kinds of training share: what follows from the config alone, and what a Runner asks for."""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner.utils import set_random_seed
from torch import nn

from densekit.config_tree import plain, written
from densekit.engine.precision import FP16_PATIENCE, OPTIM_WRAPPERS
from densekit.engine.preflight import Batch, SampleBatch
from densekit.errors import ConfigError, close_names
from densekit.package import load_weights, read_weights
from densekit.package.seen import LOOKS, TRAINED_ON, pack
from densekit.random_state import random_state_kept
from densekit.registry import DATASETS, HOOKS, MODELS, OPTIMIZERS, PARAM_SCHEDULERS, check_config
from densekit.visualization.shared.curves import ScoreCurve

RAMP = 10
"""The moving average takes ``max(momentum, RAMP / (RAMP + t))`` of the weights after iteration ``t``."""


class Plan(ABC):
    """A config together with the data set it is run on: everything that is derived, in one place.

    Whatever depends on the data set or on other keys is derived here and nowhere else, after all overrides, so that no
    override can be dead.

    Args:
        config: Complete, with its values checked.
    """

    scope: ClassVar[str] = "densekit"
    """The registries in which MMEngine looks first for names without a scope."""
    score: ClassVar[str]
    """The validation score that best.pth is chosen by; higher is better."""
    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    """That of ``channels_last=True``."""
    beside: ClassVar[tuple[str, ...]] = ()
    """Files of the work folder that belong to a validation; those of best.pth are kept as ``best_<name>``."""
    smaller: ClassVar[str] = "the size of the samples"
    """What to lower, after batch_size, if the memory is too small."""

    def __init__(self, config: Config) -> None:
        self.config = config

    # --- what a kind of training says of itself -----------------------------------------------------------------------
    @property
    @abstractmethod
    def validates(self) -> bool:
        """Whether there is something to validate on."""

    @property
    @abstractmethod
    def iterations_per_epoch(self) -> int:
        """Batches of each process in an epoch."""

    @property
    def curve(self) -> ScoreCurve:
        """How the validation score is drawn."""
        return ScoreCurve(self.score, f"Validation {self.score}", f"Validation {self.score} per class")

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names by label value, as curves and pictures show them."""

    @abstractmethod
    def model(self) -> dict[str, Any]:
        """The network's config with everything filled in that follows from the data."""

    @abstractmethod
    def train_loader(self) -> dict[str, Any]:
        """Config of the training DataLoader."""

    def check_training(self) -> None:
        """Check everything that a training would find out late, some of it at the first validation only.

        Raises:
            ConfigError: for values that cannot work together, or a part that cannot be built.
            DataError: if there is nothing to train on.
        """
        self.check_parts()

    def worst_batch(self, batch_size: int) -> Batch:
        """The largest batch of so many samples that the training can meet; here all samples are of one size."""
        dataset = self.train_loader()["dataset"]
        dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        with random_state_kept():
            return SampleBatch([dataset[i % len(dataset)] for i in range(batch_size)])

    @abstractmethod
    def validation(self, work_dir: Path) -> dict[str, Any]:
        """The Runner's arguments for validation."""

    def hashes(self, split: str | None) -> dict[str, str]:
        """A hash of what each case of a split shows, by its name; nothing where that is not known."""
        del split
        return {}

    def looks(self, split: str | None) -> dict[str, bytes]:
        """What each image of a split looks like, by its name; nothing where that is not known."""
        del split
        return {}

    def described(self) -> dict[str, Any]:
        """What a checkpoint says beside its weights, see :func:`densekit.package.write_checkpoint`."""
        return {
            "task": self.config.task,
            "model_config": self.model(),
            "preprocessing": {},
            "labels": self.class_names,
            "inference": {},
            "meta": {
                "config": str(self.config.filename and Path(self.config.filename).name),
                TRAINED_ON: sorted(set(self.hashes(self.config.train_split).values())),
                LOOKS: pack(self.looks(self.config.train_split)),
            },
        }

    def resolved(self) -> dict[str, Any]:
        """The whole run as plain values: every key as it was used, and what was derived from the data set."""
        return {
            **{key: written(value) for key, value in self.config.items() if key != "model"},
            "model": written(self.model()),
            "optimizer": written(self.optimizer()),
            "schedule": written(self.schedule()),
        }

    # --- what follows from the config alone ---------------------------------------------------------------------------
    @property
    def images_per_step(self) -> int:
        """Samples between two steps of the optimizer, over all processes."""
        return self.config.batch_size * self.config.accumulate * get_world_size()

    def lower(self, batch_size: int, accumulate: int) -> None:
        """Take smaller batches, with as many samples between two steps of the optimizer as before.

        What is counted in iterations follows: schedules, and the momentum of the moving average, which moves at each.
        """
        c = self.config
        times = accumulate / c.accumulate
        c.batch_size, c.accumulate = batch_size, accumulate
        c.schedule = [stretched(plain(given), times) for given in c.schedule]
        if c.ema is not None:
            c.ema = 1 - (1 - c.ema) ** (1 / times)

    def check_parts(self) -> None:
        """Build what a training would build late, so that it is refused now.

        Raises:
            ConfigError: for an optimizer, schedule or hook that cannot be built, or values that contradict each other.
        """
        c = self.config
        parameter = nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        part, config = "optimizer", plain(c.optimizer)
        try:
            check_config(config, OPTIMIZERS)
            optimizer = OPTIMIZERS.build({**config, "params": [parameter]})
            for number, given in enumerate(c.schedule):
                part, config = f"schedule.{number}", plain(given)
                check_config(config, PARAM_SCHEDULERS)
                self._require_begin(part, config)
                schedule = PARAM_SCHEDULERS.build({**self._with_end(config), "optimizer": optimizer})
                optimizer.step()  # it warns of a schedule that steps before its optimizer
                schedule.step()
        except (TypeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{c.filename}: {part}={config} cannot be used: {reason}") from error
        for hook in c.custom_hooks:
            check_config(hook, HOOKS)

    def _require_begin(self, part: str, given: dict[str, Any]) -> None:
        """Refuse a schedule up to the end of the run that would begin after it."""
        s = self._with_end(given)
        total = self.config.max_epochs * (1 if s["by_epoch"] else self.iterations_per_epoch)
        if "end" in s and "end" not in given and s.get("begin", 0) >= total:
            raise ConfigError(
                f"{self.config.filename}: {part}={given}: the run is over before it begins; lower its begin, and the "
                f"end of a warm-up before it, or train longer"
            )

    def network(self, *, fresh: bool = True) -> nn.Module:
        """Build the network, from the seed.

        Args:
            fresh: Its weights are what the training starts from, and not about to be replaced.
        """
        del fresh  # drawing weights that are about to be replaced costs little
        return self._drawn(self.model())

    def _drawn(self, config: dict[str, Any]) -> nn.Module:
        """Build a model config and draw its weights from the seed."""
        set_random_seed(self.config.seed, deterministic=self.config.deterministic)
        if self.config.deterministic:
            deterministic_kernels()
        with DefaultScope.overwrite_default_scope(self.scope):
            try:
                model = MODELS.build(ConfigDict(config))  # MMDetection reads train_cfg by attribute
            except (TypeError, ValueError, AssertionError, KeyError, AttributeError) as error:
                raise ConfigError(f"{self.config.filename}: model cannot be built: {_why(error)}") from error
            with quiet_drawing():
                model.init_weights()
        return model.to(memory_format=self.memory_format) if self.config.channels_last else model

    def load_weights(self, model: nn.Module, path: str | Path) -> list[str]:
        """Start from the weights of a file (``load_from``).

        Returns:
            Lines for the log.

        Raises:
            CheckpointError: if they do not fit.
        """
        load_weights(model, read_weights(path), Path(path))
        return [f"weights from {path}"]

    def optimizer(self) -> dict[str, Any]:
        """The optimizer's config."""
        return plain(self.config.optimizer)

    def optim_wrapper(self) -> dict[str, Any]:
        """Optimizer, precision, accumulation and clipping.

        Raises:
            ConfigError: for fp16 without a GPU.
        """
        c = self.config
        if c.amp == "fp16" and not torch.cuda.is_available():
            raise ConfigError(
                f"{c.filename}: amp='fp16' needs a GPU (none is usable, `densekit doctor` says why); use amp='bf16' or "
                f"None"
            )
        return {
            "type": OPTIM_WRAPPERS[c.amp],
            "optimizer": self.optimizer(),
            "accumulative_counts": c.accumulate,
            "clip_grad": None if c.clip_grad is None else {"max_norm": c.clip_grad},
        }

    def schedule(self) -> list[dict[str, Any]]:
        """Learning-rate schedules; one that states no end of its own runs to the end of the training."""
        return [self._with_end(plain(given)) for given in self.config.schedule]

    def _with_end(self, given: dict[str, Any]) -> dict[str, Any]:
        s = {"by_epoch": True, **given}
        if s.pop("convert_to_iter_based", False) and s["by_epoch"]:
            s = stretched({**s, "by_epoch": False}, self.iterations_per_epoch)
            if "end" in s:  # at least an iteration, however short the run
                s["end"] = max(s["end"], s.get("begin", 0) + 1)
        kind = s["type"] if isinstance(s["type"], str) else s["type"].__name__
        total = self.config.max_epochs * (1 if s["by_epoch"] else self.iterations_per_epoch)
        if kind.startswith("CosineAnnealing"):
            s.setdefault("T_max", total - s.get("begin", 0))
        if kind.startswith("Poly"):
            # MMEngine reaches eta_min in the last epoch, which would train nothing; nnU-Net's rule is
            # lr * (1 - epoch / max_epochs)^power with epochs from 0.
            s.setdefault("end", total + 1)
        elif not kind.startswith(("MultiStep", "Step", "Exponential")):
            s.setdefault("end", total)
        return s

    def hooks(self) -> list[dict[str, Any] | Hook]:
        """Hooks of every run, the moving average, and the user's own."""
        c = self.config
        return [
            {"type": "densekit.StatelessSeedHook", "seed": c.seed},
            *([{"type": "densekit.AverageBuffersHook"}] if get_world_size() > 1 else []),
            {"type": "densekit.FiniteLossHook", "patience": FP16_PATIENCE if c.amp == "fp16" else 1},
            {"type": "densekit.CsvLogHook", "names": self.class_names, "score": self.curve, "interval": c.log_interval},
            *([] if c.ema is None else [average_hook(c.ema)]),
            *c.custom_hooks,
        ]


def average_hook(momentum: float) -> dict[str, Any]:
    """MMEngine's moving average, short at first: after ``t`` iterations over no more than about ``t / RAMP`` of them.

    One of fixed length holds the weights that a run starts from for as long as a short run lasts.
    """
    return {"type": "EMAHook", "ema_type": "MomentumAnnealingEMA", "momentum": momentum, "gamma": RAMP}


def deterministic_kernels() -> None:
    """Take deterministic kernels; where a GPU lacks one (trilinear upsampling, backward) torch warns and goes on.

    To be called after MMEngine's seeding, which makes that an error.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS has none
    torch.use_deterministic_algorithms(True, warn_only=True)


def _why(error: Exception) -> str:
    """What a part of a network had against its config, in one line."""
    reason = " ".join(str(error).split()) or f"an {type(error).__name__} without a word"
    unknown = re.search(r"'?(\S+) is not in the (\S+?)::", reason)
    if unknown is None:
        return reason
    name, scope = unknown.groups()
    known = [
        part
        for scoped in (MODELS.root.children.get(scope), MODELS, MODELS.root)
        if scoped
        for part in scoped.module_dict
    ]
    return f"{name!r} is not registered{close_names(name, known)}"


def stretched(schedule: dict[str, Any], times: float) -> dict[str, Any]:
    """A schedule that counts iterations, for so many times as many of them."""
    if schedule.get("by_epoch", True):
        return schedule
    counts = {key: round(schedule[key] * times) for key in ("begin", "end", "T_max", "step_size") if key in schedule}
    if "milestones" in schedule:
        counts["milestones"] = [round(milestone * times) for milestone in schedule["milestones"]]
    return {**schedule, **counts}


@contextmanager
def quiet_drawing(least: int = logging.WARNING) -> Iterator[None]:
    """Keep MMEngine from listing how each parameter was drawn, or how each is optimised, lines for every one."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(level)
