"""The keys of a config for volumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from densekit.engine.settings import (
    POSITIVE,
    SHARE,
    SWITCH,
    Setting,
    instance,
    list_of,
    maybe,
    one_of,
    settings_of,
    whole,
)
from densekit.tasks.volume import CONVENTIONS

SPLITS = "a split of the data set; several joined by +, e.g. 'train+val'"

SETTINGS = settings_of(
    [
        Setting(
            "data_root",
            None,
            (maybe(instance(str, Path)), "a prepared folder or None"),
            "prepared folder (`densekit prepare`); `--data PATH` overrides it",
            "data",
            at_test=True,
        ),
        Setting("train_split", "train", (instance(str), "the name of a split, or several joined by +"), SPLITS, "data"),
        Setting(
            "val_split",
            "val",
            (maybe(instance(str)), "the name of a split, several joined by +, or None"),
            "None: no validation, the last epoch is the result",
            "data",
        ),
        Setting(
            "fold",
            None,
            (maybe(whole(0)), "a whole number from 0 on, or None"),
            "train and val are those of this fold (`densekit prepare --folds`); None: the named splits",
            "data",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "patch_size",
            (64, 128, 128),
            (
                lambda value: list_of(int)(value) and len(value) == 3 and min(value) > 0,
                "three positive whole numbers (D, H, W)",
            ),
            "(D, H, W) voxels of the prepared grid",
            "data",
        ),
        Setting("iterations_per_epoch", 250, POSITIVE, "batches of an epoch", "data"),
        Setting(
            "foreground_ratio",
            1 / 3,
            SHARE,
            "share of a batch's patches that are centred on a foreground voxel, rounded up",
            "data",
        ),
        Setting(
            "train_pipeline",
            "nnunet",
            (maybe(instance(str, list, tuple)), "'nnunet', None or a list of transforms"),
            '"nnunet", None (no augmentation), or a list of transforms (MONAI\'s dictionary transforms by name)',
            "data",
        ),
        Setting(
            "mirror_axes",
            ("left-right", "anterior-posterior", "superior-inferior"),
            (maybe(list_of(str)), "a list of axes, e.g. ('left-right',), () for none"),
            "axes that the augmentation mirrors",
            "data",
        ),
        Setting(
            "mirror_relabel",
            True,
            SWITCH,
            "a left/right mirror swaps paired labels; False keeps them (nnFormer's recipe, for Synapse alone)",
            "data",
        ),
        Setting("compile", False, SWITCH, "torch.compile of backbone and neck", "optimisation"),
        Setting(
            "inference",
            {"overlap": 0.5, "batch": 1, "weights": "gaussian", "mirror_axes": ()},
            (instance(Mapping), "a dict, e.g. dict(overlap=0.5)"),
            "window: patch_size unless given",
            "validation",
        ),
        Setting(
            "convention",
            None,
            one_of((None, *CONVENTIONS)),
            'empty masks: "transunet", "nnformer" or "strict"; None: the data set\'s own',
            "validation",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "surface_metrics", False, SWITCH, "HD95 and surface Dice at every validation too (slower)", "validation"
        ),
    ],
    changed={
        "max_epochs": 1000,
        "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.99, "nesterov": True, "weight_decay": 3e-5},
        "clip_grad": 12.0,
        "schedule": [{"type": "PolyLR", "power": 0.9, "eta_min": 0.0}],
        "val_interval": 50,
    },
)
"""Of a training on volumes."""
