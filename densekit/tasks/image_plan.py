"""Training on images: what follows from a config and its data set, whatever is annotated in it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from torch import nn

from densekit.config_tree import plain, rebuilt, walk, written
from densekit.datasets.shared.image_folds import read_image_table
from densekit.datasets.shared.patient_table import PatientTable
from densekit.engine.layer_decay import LayerDecay
from densekit.engine.plan import Plan
from densekit.errors import ConfigError, DataError, close_names
from densekit.registry import TRANSFORMS
from densekit.structures.findings import Finding

LIBRARIES = {"mmdet": "MMDetection", "mmseg": "MMSegmentation"}
"""Packages whose transforms stand in pipelines, by scope."""


class ImageData(Protocol):
    """A data set of images, as it is trained on."""

    root: Path
    name: str
    layout: str
    format: str
    classes: Sequence[str]
    counts: Mapping[str, Mapping[str, Any]]
    """By split, ``images`` among them."""
    findings: Sequence[Finding]
    fingerprint: str


class ImagePlan(Plan):
    """A config of images with its data set.

    Args:
        config: Complete, with its values checked.
        data: Data set of any recognised layout that replaces ``data_root``.

    Raises:
        ConfigError: if no data set is given.
        DataError: if the data set is missing or has errors.
    """

    paths: ClassVar[tuple[str, ...]] = ("table",)
    """Keys whose values may be files, which the checkpoint carries with their whole path."""
    backbone_lines: tuple[str, ...] = ()
    """Which weights the backbone started from, in words; once the network is built."""

    def __init__(self, config: Config, data: str | Path | None = None) -> None:
        super().__init__(config)
        root = data or config.data_root
        if root is None:
            raise ConfigError(f"{config.filename}: no data_root; give the data set with --data=PATH")
        for key in self.paths:
            if isinstance(config[key], (str, Path)):
                config[key] = str(Path(config[key]).expanduser().resolve())
        self.data = self.read({**config, "data_root": root})

    # --- what a task says of its data ---------------------------------------------------------------------------------
    @abstractmethod
    def read(self, settings: Mapping[str, Any]) -> ImageData:
        """Read the data set that the settings name."""

    @property
    @abstractmethod
    def masks(self) -> bool:
        """Whether samples carry masks of objects."""

    @abstractmethod
    def files(self, split: str) -> Sequence[str]:
        """The images of a split, below the data set's root or with their whole path."""

    @abstractmethod
    def samples(self, pipeline: str) -> Any:
        """The training images, through the transforms of a key of the config."""

    # --- what follows -------------------------------------------------------------------------------------------------
    @property
    def validates(self) -> bool:
        return self.config.val_split is not None

    @property
    def class_names(self) -> list[str]:
        return list(self.data.classes)

    @property
    def images(self) -> int:
        """Number of training images."""
        return self.data.counts[self.config.train_split]["images"]

    @cached_property
    def table(self) -> PatientTable | None:
        """What is known of the images besides."""
        if self.config.table is None:
            return None
        return read_image_table(
            Path(self.config.table), [file for split in self.data.counts for file in self.files(split)]
        )

    @cached_property
    def train_dataset(self) -> Any:
        """The training images as :class:`~densekit.datasets.shared.epochs.SeededDataset`."""
        from densekit.datasets.shared.epochs import SeededDataset

        c = self.config
        final = None if c.final_pipeline is None else (self.samples("final_pipeline"), c.max_epochs - c.final_epochs)
        return SeededDataset(self.samples("train_pipeline"), c.seed, self.repeat, final)

    @property
    def repeat(self) -> int:
        """Times the images are gone through in an epoch."""
        return self.config.repeat

    def hashes(self, split: str | None) -> dict[str, str]:
        from densekit.package.seen import image_hashes

        return {} if split is None else image_hashes(self.files(split), self.data.root)

    def looks(self, split: str | None) -> dict[str, bytes]:
        from densekit.package.seen import looks

        return {} if split is None else looks(self.files(split), self.data.root)

    def check_splits(self) -> None:
        """Check that the splits are there that the config names.

        Raises:
            DataError: for one that is not.
        """
        for key in ("train_split", "val_split"):
            split = self.config[key]
            if split is not None and split not in self.data.counts:
                raise DataError(
                    f"{self.data.root}: has no split {split!r} (it has {', '.join(self.data.counts)})"
                    f"{close_names(split, self.data.counts)}; set {key}, val_split=None does without a validation"
                )

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

    def described(self) -> dict[str, Any]:
        described = super().described()
        described["meta"]["dataset"] = self.data.name
        return described

    def resolved(self) -> dict[str, Any]:
        return super().resolved() | {
            "train_pipeline": written(self.train_transforms()),
            "test_pipeline": written(self.test_transforms()),
            "data_root": str(self.data.root),
            "data_format": self.data.format,
            "classes": self.class_names,
            "fingerprint": self.data.fingerprint,
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
