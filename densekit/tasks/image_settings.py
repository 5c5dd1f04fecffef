"""The keys of a config that tasks on images share: pipelines, a learning rate by batch, pretrained backbones, folds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densekit.engine.layer_decay import BY
from densekit.engine.settings import (
    LIST_OF_DICTS,
    POSITIVE,
    Setting,
    instance,
    is_number,
    maybe,
    one_of,
    settings_of,
    whole,
)

AUGMENT = (None, "light", "strong")


def layer_decay_holds(value: Any) -> bool:
    """Whether a value can be the setting ``layer_decay``."""
    known = {"rate": lambda v: is_number(v) and 0 < v <= 1, "layers": whole(1), "by": lambda v: v in BY}
    return isinstance(value, Mapping) and set(value) == set(known) and all(known[k](value[k]) for k in known)


SETTINGS = settings_of(
    [
        Setting(
            "train_pipeline",
            [
                {"type": "mmdet.Resize", "scale": (1333, 800), "keep_ratio": True},
                {"type": "mmdet.RandomFlip", "prob": 0.5},
            ],
            (LIST_OF_DICTS[0], "a list of transforms"),
            "transforms between loading and packing; a scale is the longest and the shortest side in pixels",
            "data",
        ),
        Setting(
            "test_pipeline",
            [{"type": "mmdet.Resize", "scale": (1333, 800), "keep_ratio": True}],
            (LIST_OF_DICTS[0], "a list of transforms"),
            "the same of an image that is predicted",
            "data",
        ),
        Setting(
            "final_pipeline",
            None,
            (maybe(LIST_OF_DICTS[0]), "a list of transforms, or None"),
            "takes the place of train_pipeline in the last epochs, e.g. without a mosaic; None: all are alike",
            "data",
        ),
        Setting("final_epochs", 15, POSITIVE, "how many last epochs final_pipeline is for", "data"),
        Setting(
            "augment", None, one_of(AUGMENT), '"light" or "strong": Albumentations presets after train_pipeline', "data"
        ),
        Setting("repeat", 1, POSITIVE, "times the training images are gone through in one epoch", "data"),
        Setting(
            "val_split",
            "val",
            (maybe(instance(str)), "the name of a split, or None"),
            "None: no validation, the last epoch is the result; drawn from train if the data have none",
            "data",
            at_test=True,
        ),
        Setting(
            "folds",
            None,
            (maybe(whole(2)), "a whole number from 2 on, or None"),
            "folds to make of the images, by patient or image, stratified, the same each time; None: the data's splits",
            "data",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "fold",
            None,
            (maybe(whole(0)), "a whole number from 0 on, or None"),
            "the one of them that validates, the others train",
            "data",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "table",
            None,
            (maybe(instance(str, Path)), "a CSV file or None"),
            "CSV with a line per image: image,patient,age,...; folds are by patient, the rest is meta-information",
            "data",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "pretrained",
            True,
            (instance(bool, str, Path), "True (the backbone's own weights), False (from scratch), or a file or name"),
            "True: the backbone's own weights; False: from scratch; or a weights file, a torchvision or timm name",
            "network",
        ),
        Setting(
            "lr_batch",
            16,
            (maybe(whole(1)), "a positive whole number, or None for no scaling"),
            "the learning rate is for so many images a step; scaled in proportion to the run's; None: not",
            "optimisation",
        ),
        Setting(
            "paramwise",
            None,
            (maybe(instance(Mapping)), "a dict, e.g. dict(bias_lr_mult=2.0), or None"),
            "MMEngine's paramwise_cfg, e.g. dict(bias_lr_mult=2.0)",
            "optimisation",
        ),
        Setting(
            "layer_decay",
            None,
            (maybe(layer_decay_holds), "dict(rate=0.9, layers=12, by='stage') or by='layer', or None"),
            "lower learning rates for the earlier layers of the backbone: dict(rate=0.9, layers=12, by='stage')",
            "optimisation",
        ),
    ],
    changed={
        "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4},
        "schedule": [
            {"type": "LinearLR", "start_factor": 0.001, "end": 500, "by_epoch": False},
            {"type": "MultiStepLR", "milestones": [8, 11], "gamma": 0.1},
        ],
    },
)
"""Settings of a training on images."""
