"""What tasks on images share: pipelines, a learning rate by batch, pretrained backbones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size
from torch import nn

from densekit.config_tree import plain, rebuilt, walk, written
from densekit.engine.layer_decay import BY, LayerDecay
from densekit.engine.plan import Plan
from densekit.engine.run_report import RunReport
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
from densekit.errors import ConfigError, close_names
from densekit.registry import TRANSFORMS

AUGMENT = (None, "light", "strong")

LIBRARIES = {"mmdet": "MMDetection", "mmseg": "MMSegmentation"}
"""Packages whose transforms stand in pipelines, by scope."""


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


class ImagePlan(Plan):
    """A config of images with its data set."""

    backbone_lines: tuple[str, ...] = ()
    """Which weights the backbone started from, in words; once the network is built."""

    @property
    @abstractmethod
    def images(self) -> int:
        """Number of training images."""

    @property
    @abstractmethod
    def masks(self) -> bool:
        """Whether samples carry masks of objects."""

    @property
    def iterations_per_epoch(self) -> int:
        # each process's share is filled up to whole steps, see EpochSampler
        return -(-self.images * self.config.repeat // self.images_per_step) * self.config.accumulate

    @property
    def taken_twice(self) -> int:
        """Images that come once more in an epoch, so that every batch is full."""
        c = self.config
        return self.iterations_per_epoch * c.batch_size * get_world_size() - self.images * c.repeat

    def check_training(self) -> None:
        c = self.config
        if c.lr_batch is not None and "lr" not in c.optimizer:
            raise ConfigError(
                f"{c.filename}: optimizer={plain(c.optimizer)} has no lr that lr_batch={c.lr_batch} could scale; give "
                f"one, or set lr_batch=None"
            )
        self._check_transforms("train_pipeline", self.train_transforms())
        self._check_transforms("test_pipeline", self.test_transforms())
        if c.final_pipeline is not None:
            self._check_transforms("final_pipeline", self.train_transforms("final_pipeline"))
        super().check_training()

    def _check_transforms(self, key: str, transforms: list[dict[str, Any]]) -> None:
        """Build each transform once: it refuses now what it would refuse in a worker process."""
        from mmengine.registry import DefaultScope

        known = import_module(f"{self.scope}.registry").TRANSFORMS
        known.import_from_location()
        with DefaultScope.overwrite_default_scope(self.scope):
            for number, given in enumerate(transforms):
                kind = given.get("type")
                if isinstance(kind, str) and known.get(kind) is None and TRANSFORMS.get(kind) is None:
                    raise ConfigError(
                        f"{self.config.filename}: {key}.{number}: {kind!r} is no transform of {LIBRARIES[self.scope]} "
                        f"or densekit"
                        f"{close_names(kind, [*known.module_dict, *TRANSFORMS.module_dict])}"
                    )
                try:
                    known.build(dict(given))
                except (TypeError, ValueError, AssertionError, KeyError, ImportError) as error:
                    reason = " ".join(str(error).split())
                    raise ConfigError(
                        f"{self.config.filename}: {key}.{number}={written(dict(given))} cannot be used: {reason}"
                    ) from error

    # --- data ---------------------------------------------------------------------------------------------------------
    def train_transforms(self, key: str = "train_pipeline") -> list[dict[str, Any]]:
        """The transforms between loading and packing, those of the ``augment`` preset included."""
        from densekit.datasets.shared.image_loading import between

        transforms = between(plain(list(self.config[key])))
        if self.config.augment is not None:
            from densekit.datasets.shared.augmentation import augmentation

            transforms += augmentation(self.config.augment, masks=self.masks)
        return transforms

    def test_transforms(self) -> list[dict[str, Any]]:
        """The transforms between loading and packing of an image that is predicted."""
        from densekit.datasets.shared.image_loading import between

        return between(plain(list(self.config.test_pipeline)))

    def input_size(self) -> tuple[int, int]:
        """Longer and shorter side of the largest image that the last Resize or crop of the training makes."""
        sides: list[tuple[int, int]] = []
        for transform in self.config.train_pipeline:
            sides = list(_scales([transform])) or sides
        return max(sides, key=lambda pair: pair[0] * pair[1], default=(1333, 800))

    # --- network ------------------------------------------------------------------------------------------------------
    def network(self, *, fresh: bool = True) -> nn.Module:
        from densekit.package.pretrained import load_backbone, separate_backbone

        config, source = separate_backbone(self.model())
        model = self._drawn(config)
        if fresh:
            self.backbone_lines = tuple(load_backbone(model, self.config.pretrained, source))
        return model

    def load_weights(self, model: nn.Module, path: str | Path) -> list[str]:
        from densekit.package.transfer import start_from

        return start_from(model, path, self.class_names, config=self.model()).lines()

    def optimizer(self) -> dict[str, Any]:
        optimizer = super().optimizer()
        if self.config.lr_batch is not None:
            optimizer["lr"] = optimizer["lr"] * self.images_per_step / self.config.lr_batch
        return optimizer

    def optim_wrapper(self) -> dict[str, Any]:
        wrapper, paramwise = super().optim_wrapper(), plain(self.config.paramwise or {})
        if self.config.layer_decay is not None:
            wrapper["constructor"] = LayerDecay
            paramwise["layer_decay"] = plain(self.config.layer_decay)
        return {**wrapper, **({"paramwise_cfg": paramwise} if paramwise else {})}

    def resolved(self) -> dict[str, Any]:
        return super().resolved() | {
            "train_pipeline": written(self.train_transforms()),
            "test_pipeline": written(self.test_transforms()),
        }


def train_loader(plan: ImagePlan, dataset: Any) -> dict[str, Any]:
    """Config of the DataLoader of training images: shuffled by epoch, tall and wide ones apart."""
    from densekit.datasets.shared.epochs import EpochSampler

    c = plan.config
    return {
        "batch_size": c.batch_size,
        "num_workers": c.num_workers,
        "persistent_workers": c.num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "sampler": {"type": EpochSampler, "shuffle": True, "multiple": c.batch_size * c.accumulate},
        "batch_sampler": {"type": "mmdet.AspectRatioBatchSampler"},
        "dataset": dataset,
    }


class ImageReport(RunReport):
    """The words of a run on images."""

    plan: ImagePlan

    def untried(self) -> list[str]:
        pretrained = self.plan.config.pretrained
        return [] if pretrained is False else [f"pretrained={pretrained!r} is not looked for: random weights"]

    def derived(self) -> dict[str, str]:
        c, found = self.plan.config, {}
        if c.lr_batch is not None:
            here = self.plan.images_per_step
            found["optimizer.lr"] = f"{c.optimizer['lr']:g} for {c.lr_batch} images a step, here {here}"
        if c.augment is not None:
            found["train_pipeline"] = f"with the preset augment={c.augment!r}"
        return found

    def describe(self) -> list[str]:
        """Batches, learning rate and the backbone's weights."""
        c, plan = self.plan.config, self.plan
        twice = plan.taken_twice
        lines = [
            f"batch {c.batch_size}, {c.max_epochs} epochs of {plan.iterations_per_epoch} iterations"
            + (f" ({twice} image{'s' * (twice > 1)} taken twice, so that every batch is full)" if twice else "")
        ]
        if c.lr_batch is not None:
            lines.append(
                f"learning rate {c.optimizer['lr']:g} is for {c.lr_batch} images a step, this run has "
                f"{plan.images_per_step}: {plan.optimizer()['lr']:g}"
            )
        return [*lines, *plan.backbone_lines]

    def cautions(self) -> list[str]:
        """Splits that are the same, schedules that end elsewhere than the run."""
        c, lines = self.plan.config, []
        if c.val_split == c.train_split:
            lines.append(
                f"train_split and val_split are both {c.val_split!r}: best.pth is chosen by images it was trained on"
            )
        for number, schedule in enumerate(self.plan.schedule()):
            late = [m for m in schedule.get("milestones", ()) if m >= c.max_epochs and schedule["by_epoch"]]
            if late:
                lines.append(
                    f"schedule.{number}: milestones {late} lie beyond max_epochs={c.max_epochs}, the learning rate "
                    f"does not drop there"
                )
            steps = self.plan.iterations_per_epoch * c.max_epochs
            if not schedule["by_epoch"] and schedule.get("begin", 0) == 0 and schedule.get("end", 0) > steps:
                lines.append(
                    f"schedule.{number}: ends after {schedule['end']} iterations, the run has {steps}: it does not get "
                    f"that far"
                )
        return lines


def kind_of_transform(given: Mapping[str, Any]) -> str:
    """The name of a transform's class, from its config."""
    kind = given.get("type")
    return getattr(kind, "__name__", str(kind)).rpartition(".")[2]


def scoped(transforms: Any) -> Any:
    """Configs of transforms in plain values, their classes by the name and the scope they are registered under."""

    def name(value: Any) -> Any:
        if not isinstance(value, type):
            return value
        package = value.__module__.partition(".")[0]
        # mmcv registers in MMEngine's root registry
        return f"{package if package in ('densekit', *LIBRARIES) else 'mmengine'}.{value.__name__}"

    return rebuilt(transforms, name)


def _scales(transforms: Any) -> Iterator[tuple[int, int]]:
    """(longer, shorter) side in pixels of each ``scale`` or ``scales`` of a Resize, or ``crop_size`` of a crop."""
    for _, node in walk(transforms):
        kind = node.get("type", "") if isinstance(node, Mapping) else ""
        name = getattr(kind, "__name__", str(kind))
        part, keys = ("Resize", ("scale", "scales")) if "Resize" in name else ("Crop", ("crop_size",))
        for key in keys if part in name else ():
            yield from _sizes(f"a {part} has {key}", node[key]) if key in node else ()


def _sizes(said: str, value: Any) -> Iterator[tuple[int, int]]:
    try:
        pairs = np.atleast_2d(np.asarray(value, dtype=float))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"train_pipeline: {said}={value!r}, expected the longer and the shorter side in pixels, e.g. "
            f"(1333, 800), or a list of such pairs"
        ) from error
    if pairs.ndim == 2 and pairs.shape[1] == 2:
        yield from ((int(max(pair)), int(min(pair))) for pair in pairs if min(pair) > 1)
