"""The keys of a config for semantic segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densekit.engine.settings import SWITCH, Setting, instance, is_number, list_of, maybe, settings_of, whole
from densekit.tasks.image_settings import SETTINGS as IMAGE_SETTINGS
from densekit.tasks.segmentation.losses import BALANCED, LOSSES

_CROP, _SCALE = (512, 512), (2048, 512)


def _losses_hold(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(name in LOSSES and is_number(weight) and weight > 0 for name, weight in value.items())
    )


def _weights_hold(value: Any) -> bool:
    numbers = value.values() if isinstance(value, Mapping) else value
    return value == BALANCED or (
        isinstance(value, (Mapping, list, tuple)) and all(is_number(n) and n >= 0 for n in numbers)
    )


def _ohem_holds(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) <= {"thresh", "min_kept"} and all(map(is_number, value.values()))


SETTINGS = settings_of(
    [
        *IMAGE_SETTINGS.values(),
        Setting(
            "data_root",
            "data/ade/ADEChallengeData2016",
            (maybe(instance(str, Path)), "a folder, a COCO JSON, or None"),
            "ADE20K in its own layout, or one's own data, of any layout that is recognised: `--data PATH`",
            "data",
            at_test=True,
        ),
        Setting(
            "data_format",
            None,
            (maybe(instance(str)), "the name of a layout, or None to find out"),
            '"ade20k", "pairs", "labelme" ...; None: recognised',
            "data",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "classes",
            None,
            (
                maybe(
                    lambda value: isinstance(value, (str, Path, Mapping)) or (list_of(str)(value) and len(value) > 0)
                ),
                "None, a CSV, JSON or TXT file, a list of names, or dict(name=value) or dict(name=(r, g, b))",
            ),
            "names, with the colours or values that stand for them in masks; None: the data say them",
            "data",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "ignore",
            None,
            (maybe(instance(int, str, list, tuple)), "a value, a class, a list of values, classes or colours, or None"),
            "what of the masks has no class: values, names, or colours [[r, g, b]]; None: 255, where it is no class",
            "data",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "train_pipeline",
            [
                {"type": "RandomResize", "scale": _SCALE, "ratio_range": (0.5, 2.0), "keep_ratio": True},
                {"type": "densekit.RandomCrop", "crop_size": _CROP, "cat_max_ratio": 0.75},
                {"type": "mmseg.RandomFlip", "prob": 0.5},
                {"type": "densekit.PhotoMetricDistortion"},
            ],
            IMAGE_SETTINGS["train_pipeline"].check,
            "transforms between loading and packing; a crop of which one class takes more than cat_max_ratio is drawn "
            "again",
            "data",
        ),
        Setting(
            "test_pipeline",
            [{"type": "mmseg.Resize", "scale": _SCALE, "keep_ratio": True}],
            IMAGE_SETTINGS["test_pipeline"].check,
            "the same of an image that is predicted",
            "data",
        ),
        Setting(
            "max_iters",
            None,
            (maybe(whole(1)), "a whole number from 1 on, or None"),
            "steps of the run, in max_epochs epochs of equal length, each with its validation; None: an epoch is a "
            "pass over the data",
            "optimisation",
        ),
        Setting(
            "losses",
            None,
            (maybe(_losses_hold), f"None, or weights of some of {tuple(LOSSES)}, e.g. dict(ce=1.0, dice=1.0)"),
            "None: those of the head's recipe (cross-entropy); or dict(ce=1.0, dice=1.0), lovasz, boundary, focal",
            "optimisation",
        ),
        Setting(
            "class_weight",
            None,
            (maybe(_weights_hold), "None, 'balanced', a weight for each class, or dict(name=weight)"),
            "of cross-entropy: 'balanced' by the median frequency, a number for each class, or by name (others: 1)",
            "optimisation",
        ),
        Setting(
            "ohem",
            None,
            (maybe(_ohem_holds), "None, or dict(thresh=0.7, min_kept=100000)"),
            "only pixels whose class has a probability below thresh are learned from, min_kept per image at least",
            "optimisation",
        ),
        Setting(
            "cache_features",
            True,
            SWITCH,
            "what a frozen encoder gives for an image is kept on disk, where the pipeline draws nothing at random",
            "optimisation",
        ),
        Setting(
            "inference",
            {"mode": "whole"},
            (instance(Mapping), "a dict, e.g. dict(mode='slide', crop=(1024, 1024), stride=(768, 768))"),
            "how an image is predicted: mode 'whole' or 'slide' with crop and stride, scales, flip",
            "validation",
            at_test=True,
        ),
    ],
    changed={
        "batch_size": 4,
        "accumulate": 4,
        "max_epochs": 10,
        "optimizer": {"type": "AdamW", "lr": 6e-5, "betas": (0.9, 0.999), "weight_decay": 0.01},
        "schedule": [
            {"type": "LinearLR", "start_factor": 1e-6, "end": 1500, "by_epoch": False},
            {"type": "PolyLR", "power": 1.0, "begin": 1500, "by_epoch": False},
        ],
        "lr_batch": None,
    },
)
"""Of a training of a segmentor; with max_iters=160000 the recipe of SegFormer (arXiv 2105.15203) for ADE20K."""
