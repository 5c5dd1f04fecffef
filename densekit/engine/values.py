"""What the value of each key of a config may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densekit.errors import ConfigError

AMP = (None, "bf16", "fp16")
LARGEST_SEED = 2**32 - 1
"""What numpy takes."""

Check = tuple[Callable[[Any], bool], str]


def _whole(least: int, most: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _list_of(kind: type | tuple[type, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (list, tuple)) and all(isinstance(item, kind) for item in value)


def _maybe(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


_POSITIVE: Check = (_whole(1), "a positive whole number")
_SWITCH: Check = (_is(bool), "True or False")

_COMMON: dict[str, Check] = {
    "train_split": (_is(str), "the name of a split, or several joined by +"),
    "val_split": (_maybe(_is(str)), "the name of a split, several joined by +, or None"),
    "batch_size": _POSITIVE,
    "num_workers": (_whole(0), "a whole number from 0 on"),
    "max_epochs": _POSITIVE,
    "optimizer": (_is(Mapping), "a dict, e.g. dict(type='AdamW', lr=1e-3)"),
    "clip_grad": (_maybe(lambda value: _number(value) and value > 0), "a positive number, or None for no clipping"),
    "accumulate": _POSITIVE,
    "schedule": (_list_of(Mapping), "a list of dicts, [] for a constant learning rate"),
    "amp": (lambda value: value in AMP, f"one of {AMP}"),
    "channels_last": _SWITCH,
    "ema": (_maybe(lambda value: _number(value) and 0 < value < 1), "a number between 0 and 1, or None"),
    "load_from": (_maybe(_is(str, Path)), "a checkpoint file or None"),
    "val_interval": _POSITIVE,
    "seed": (_whole(0, LARGEST_SEED), f"a whole number from 0 to {LARGEST_SEED}"),
    "deterministic": _SWITCH,
    "log_interval": _POSITIVE,
    "checkpoint_interval": _POSITIVE,
    "pictures": (_whole(0), "a whole number from 0 on"),
    "custom_hooks": (_list_of(Mapping), "a list of dicts"),
}

VOLUME: dict[str, Check] = {
    **_COMMON,
    "data_root": (_maybe(_is(str, Path)), "a prepared folder or None"),
    "patch_size": (
        lambda value: _list_of(int)(value) and len(value) == 3 and min(value) > 0,
        "three positive whole numbers (D, H, W)",
    ),
    "iterations_per_epoch": _POSITIVE,
    "foreground_ratio": (lambda value: _number(value) and 0 <= value <= 1, "a share from 0 to 1"),
    "train_pipeline": (_maybe(_is(str, list, tuple)), "'nnunet', None or a list of transforms"),
    "mirror_axes": (_maybe(_list_of(str)), "a list of axes, e.g. ('left-right',), () for none"),
    "mirror_relabel": _SWITCH,
    "model": (_is(Mapping), "dict(type=VolumeSegmentor, ...)"),
    "compile": _SWITCH,
    "inference": (_is(Mapping), "a dict, e.g. dict(overlap=0.5)"),
    "convention": (_maybe(_is(str)), "'transunet', 'nnformer', 'strict' or None"),
    "surface_metrics": _SWITCH,
}
"""Key of a volume config -> what holds for its value, and that in words."""

FORMATS = ("coco", "yolo", "voc", "masks")
AUGMENT = (None, "light", "strong")

DETECTION: dict[str, Check] = {
    **_COMMON,
    "train_split": (_is(str), "the name of a split"),
    "val_split": (_maybe(_is(str)), "the name of a split, or None"),
    "data_root": (_maybe(_is(str, Path)), "a folder, a COCO JSON, a data.yaml, or None"),
    "data_format": (lambda value: value is None or value in FORMATS, f"None to find out, or one of {FORMATS}"),
    "classes": (
        _maybe(lambda value: _list_of(str)(value) and len(value) > 0),
        "None for all, or a list of names; with one name it needs its comma: ('dog',)",
    ),
    "train_pipeline": (_list_of(Mapping), "a list of transforms"),
    "test_pipeline": (_list_of(Mapping), "a list of transforms"),
    "augment": (lambda value: value in AUGMENT, f"one of {AUGMENT}"),
    "repeat": _POSITIVE,
    "model": (_is(Mapping), "dict(backbone=..., neck=..., head=...), or a model config with its type"),
    "pretrained": (_is(bool, str, Path), "True (the backbone's own weights), False (from scratch), or a file or name"),
    "lr_batch": (_maybe(_whole(1)), "a positive whole number, or None for no scaling"),
    "paramwise": (_maybe(_is(Mapping)), "a dict, e.g. dict(bias_lr_mult=2.0), or None"),
    "max_dets": _POSITIVE,
    "score_threshold": (lambda value: _number(value) and 0 <= value <= 1, "a score from 0 to 1"),
}
"""As :data:`VOLUME`, of a detection config."""


def check_values(config: Config, checks: Mapping[str, Check]) -> None:
    """Check each value of a config by itself.

    Raises:
        ConfigError: naming the key, its value and what is expected.
    """
    for key, (holds, expected) in checks.items():
        if not holds(config[key]):
            raise ConfigError(f"{config.filename}: {key}={config[key]!r}, expected {expected}")
