"""The settings of a run: key, default, what its value may be, and what it does, each in one place.

A task lists its settings (:attr:`densekit.tasks.base.Task.settings`); those of every training are here. A config gives
the values it wants otherwise; ``densekit config NAME`` prints all of them with these sentences as comments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from densekit.errors import ConfigError, close_names

AMP = (None, "bf16", "fp16")
LARGEST_SEED = 2**32 - 1
"""What numpy takes."""

Check = tuple[Callable[[Any], bool], str]
"""What holds for a value, and that in words."""


@dataclass(frozen=True)
class Setting:
    """One key of a config.

    Attributes:
        key: Its name.
        default: Its value where a config gives none.
        check: What holds for its value, and that in words.
        says: What it does, in a sentence or less.
        section: Heading under which a written config has it.
        at_test: ``densekit test`` reads it too; a checkpoint carries it.
        of_data: It is said of the data set of a training, and not carried to another one.
    """

    key: str
    default: Any
    check: Check
    says: str = ""
    section: str = "run"
    at_test: bool = False
    of_data: bool = False


def whole(least: int, most: float = math.inf) -> Callable[[Any], bool]:
    """A whole number of that range."""
    return lambda value: type(value) is int and least <= value <= most


def is_number(value: Any) -> bool:
    """A finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def list_of(kind: type | tuple[type, ...]) -> Callable[[Any], bool]:
    """A list or tuple of items of a type."""
    return lambda value: isinstance(value, (list, tuple)) and all(isinstance(item, kind) for item in value)


def maybe(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """None, or what holds otherwise."""
    return lambda value: value is None or check(value)


def instance(*kinds: type) -> Callable[[Any], bool]:
    """A value of one of the types."""
    return lambda value: isinstance(value, kinds)


@dataclass(frozen=True)
class OneOf:
    """One of these values; a mistyped one is answered with the close ones."""

    values: tuple[Any, ...]

    def __call__(self, value: Any) -> bool:
        return value in self.values


def one_of(values: tuple[Any, ...]) -> Check:
    """One of these."""
    return (OneOf(values), f"one of {values}")


POSITIVE: Check = (whole(1), "a positive whole number")
SWITCH: Check = (instance(bool), "True or False")
SHARE: Check = (lambda value: is_number(value) and 0 <= value <= 1, "a share from 0 to 1")
LIST_OF_DICTS: Check = (list_of(Mapping), "a list of dicts")

COMMON = (
    Setting(
        "data_root",
        None,
        (maybe(instance(str, Path)), "a path or None"),
        "the data set; --data replaces it",
        "data",
        at_test=True,
    ),
    Setting("train_split", "train", (instance(str), "the name of a split"), "split that is trained on", "data"),
    Setting(
        "val_split",
        "val",
        (maybe(instance(str)), "the name of a split, or None"),
        "None: no validation, the last epoch is the result",
        "data",
        at_test=True,
    ),
    Setting("batch_size", 2, POSITIVE, "samples per GPU", "data"),
    Setting("num_workers", 2, (whole(0), "a whole number from 0 on"), "data-loading processes per GPU", "data"),
    Setting(
        "model",
        None,
        (instance(Mapping), "dict(backbone=..., head=...), or a model config with its type"),
        "the parts of the network, put together by densekit.assemble; counts of the data are filled in",
        "network",
    ),
    Setting(
        "max_epochs",
        12,
        POSITIVE,
        "passes over the data",
        "optimisation",
    ),
    Setting(
        "optimizer",
        None,
        (instance(Mapping), "a dict, e.g. dict(type='AdamW', lr=1e-3)"),
        "any of torch's optimizers",
        "optimisation",
    ),
    Setting(
        "clip_grad",
        None,
        (maybe(lambda value: is_number(value) and value > 0), "a positive number, or None for no clipping"),
        "L2 norm; None: off",
        "optimisation",
    ),
    Setting("accumulate", 1, POSITIVE, "optimizer steps once per so many iterations", "optimisation"),
    Setting(
        "schedule",
        [],
        (list_of(Mapping), "a list of dicts, [] for a constant learning rate"),
        "ends at max_epochs; by epoch unless by_epoch=False",
        "optimisation",
    ),
    Setting("amp", None, one_of(AMP), 'None, "bf16" (CPU or GPU) or "fp16" (GPU)', "optimisation"),
    Setting(
        "channels_last",
        False,
        SWITCH,
        "memory format of the network; True is faster on GPUs with amp, and on CPUs",
        "optimisation",
    ),
    Setting(
        "ema",
        None,
        (maybe(lambda value: is_number(value) and 0 < value < 1), "a number between 0 and 1, or None"),
        "momentum of a moving average of the weights, e.g. 0.001, larger at first; validated and kept in their place",
        "optimisation",
    ),
    Setting(
        "load_from",
        None,
        (maybe(instance(str, Path)), "a checkpoint file or None"),
        "checkpoint whose weights to start from",
        "optimisation",
    ),
    Setting("val_interval", 1, POSITIVE, "epochs between validations", "validation"),
    Setting("seed", 0, (whole(0, LARGEST_SEED), f"a whole number from 0 to {LARGEST_SEED}"), "of weights and data"),
    Setting("deterministic", False, SWITCH, "only deterministic kernels; slower on a GPU"),
    Setting("log_interval", 50, POSITIVE, "iterations between two lines of the log"),
    Setting("checkpoint_interval", 1, POSITIVE, "epochs between two writings of last.pth"),
    Setting("pictures", 4, (whole(0), "a whole number from 0 on"), "cases in the validation picture; 0: none"),
    Setting("custom_hooks", [], LIST_OF_DICTS, "MMEngine hooks"),
)
"""Settings of every training."""

SECTIONS = {
    "data": "data",
    "network": "network",
    "optimisation": "optimisation",
    "validation": "validation and inference",
    "run": "run",
}
"""Sections of a written config, in their order, with their headings."""


def settings_of(own: Iterable[Setting], *, changed: Mapping[str, Any] | None = None) -> dict[str, Setting]:
    """The settings of a task by key: the common ones, some with another default, then its own.

    Args:
        own: Its own; one with the key of a common setting takes its place.
        changed: Other defaults of some of them.
    """
    known = {setting.key: setting for setting in COMMON}
    for setting in own:
        known[setting.key] = setting
    for key, default in (changed or {}).items():
        known[key] = replace(known[key], default=default)
    order = list(SECTIONS)
    return dict(sorted(known.items(), key=lambda item: order.index(item[1].section)))


def check_values(config: Mapping[str, Any], settings: Mapping[str, Setting], where: str) -> None:
    """Check the value of every setting.

    Raises:
        ConfigError: naming the key, its value and what is expected.
    """
    for key, setting in settings.items():
        holds, expected = setting.check
        if not holds(config[key]):
            close = close_names(str(config[key]), map(str, holds.values)) if isinstance(holds, OneOf) else ""
            raise ConfigError(f"{where}: {key}={config[key]!r}, expected {expected}{close}")
