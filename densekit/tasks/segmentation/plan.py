"""Training segmentors: what follows from a config and a data set of images and label images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from densekit.config_tree import plain
from densekit.datasets.segmentation import PreparedSegmentation
from densekit.datasets.shared.patient_table import PatientTable
from densekit.errors import ConfigError, DataError, close_names
from densekit.models.assemble import model_config
from densekit.models.frozen import SHELL
from densekit.ops.tile_settings import TileSettings
from densekit.tasks.images import ImagePlan, kind_of_transform, scoped, train_loader
from densekit.tasks.segmentation.data import COUNTS, metric, read_data, read_table, test_loader
from densekit.tasks.segmentation.losses import class_weights, with_losses
from densekit.visualization.shared.curves import ScoreCurve

_COLOUR = ("PhotoMetricDistortion", "Albumentations", "CLAHE", "RGB2Gray", "AdjustGamma")
"""Transforms of images with three channels of 8 bits."""

_FIXED = ("Resize", "ResizeToMultiple", "ResizeShortestEdge", "Pad", "CLAHE", "RGB2Gray", "AdjustGamma")
"""Transforms that draw nothing at random."""


class SegmentationPlan(ImagePlan):
    """A segmentation config with its data set.

    Args:
        config: Complete, with its values checked.
        data: Data set of any recognised layout that replaces ``data_root``.

    Raises:
        ConfigError: if no data set is given.
        DataError: if the data set is missing or has errors.
    """

    scope = "mmseg"
    score = "mIoU"
    beside = (COUNTS,)
    smaller = "crop_size of the RandomCrop"
    masks = False

    def __init__(self, config: Config, data: str | Path | None = None) -> None:
        super().__init__(config)
        root = data or config.data_root
        if root is None:
            raise ConfigError(f"{config.filename}: no data_root; give the data set with --data=PATH")
        for key in ("table", "classes"):
            if isinstance(config[key], (str, Path)):
                config[key] = str(Path(config[key]).expanduser().resolve())  # the checkpoint carries it
        self.data: PreparedSegmentation = read_data({**config, "data_root": root})

    @property
    def curve(self) -> ScoreCurve:
        return ScoreCurve("mIoU", "Validation mIoU", "Validation IoU per class", ("mAcc", "aAcc"))

    @property
    def validates(self) -> bool:
        return self.config.val_split is not None

    @property
    def class_names(self) -> list[str]:
        return list(self.data.classes)

    @property
    def images(self) -> int:
        return len(self.data.splits[self.config.train_split])

    @property
    def iterations_per_epoch(self) -> int:
        c = self.config
        if c.max_iters is None:
            return super().iterations_per_epoch
        return c.max_iters // c.max_epochs * c.accumulate

    @property
    def taken_twice(self) -> int:
        return super().taken_twice if self.config.max_iters is None else 0

    def check_training(self) -> None:
        c = self.config
        for key in ("train_split", "val_split"):
            split = c[key]
            if split is not None and split not in self.data.splits:
                raise DataError(
                    f"{self.data.root}: has no split {split!r} (it has {', '.join(self.data.splits)})"
                    f"{close_names(split, self.data.splits)}; set {key}, val_split=None does without a validation"
                )
        if not self.data.counts[c.train_split]["pixels"].any():
            raise DataError(
                f"{self.data.root}: no pixel of split {c.train_split!r} has a class; there is nothing to learn"
            )
        self.model()
        if c.max_iters is not None and c.max_iters % c.max_epochs:
            fits = c.max_iters - c.max_iters % c.max_epochs or c.max_epochs
            raise ConfigError(
                f"{c.filename}: max_iters={c.max_iters} does not divide into max_epochs={c.max_epochs} epochs of equal "
                f"length; take max_iters={fits}, or another max_epochs"
            )
        super().check_training()

    @cached_property
    def table(self) -> PatientTable | None:
        """What is known of the images besides."""
        return None if self.config.table is None else read_table(self.data, self.config.table)

    # --- data ---------------------------------------------------------------------------------------------------------
    def train_transforms(self, key: str = "train_pipeline") -> list[dict[str, Any]]:
        return [given for given in super().train_transforms(key) if self._takes(given)]

    def _takes(self, transform: Mapping[str, Any]) -> bool:
        return self.data.channels == 3 or kind_of_transform(transform) not in _COLOUR

    @property
    def left_out(self) -> list[str]:
        """Transforms of the config that images of so many channels cannot go through."""
        return [kind_of_transform(given) for given in super().train_transforms() if not self._takes(given)]

    @property
    def crop(self) -> tuple[int, int] | None:
        """Height and width of the crops that are trained on; None if the pipeline has no crop."""
        sizes = [t["crop_size"] for t in self.train_transforms() if kind_of_transform(t) == "RandomCrop"]
        return None if not sizes else (sizes[-1],) * 2 if isinstance(sizes[-1], int) else tuple(sizes[-1])

    @cached_property
    def train_dataset(self) -> Any:
        """The training images as :class:`~densekit.datasets.shared.epochs.SeededDataset`."""
        from densekit.datasets.segmentation.dataset import SegmentationDataset
        from densekit.datasets.shared.epochs import SeededDataset

        c = self.config

        def images(key: str) -> Any:
            return SegmentationDataset(
                self.data, c.train_split, self.train_transforms(key), test=False, table=self.table
            )

        final = None if c.final_pipeline is None else (images("final_pipeline"), c.max_epochs - c.final_epochs)
        return SeededDataset(images("train_pipeline"), c.seed, self.repeat, final)

    @property
    def repeat(self) -> int:
        """Times the images are gone through in an epoch, at least."""
        c = self.config
        if c.max_iters is None:
            return c.repeat
        return -(-self.iterations_per_epoch * c.batch_size * get_world_size() // self.images)

    def hashes(self, split: str | None) -> dict[str, str]:
        from densekit.package.seen import image_hashes

        return image_hashes(self._files(split), self.data.root)

    def looks(self, split: str | None) -> dict[str, bytes]:
        from densekit.package.seen import looks

        return looks(self._files(split), self.data.root)

    def _files(self, split: str | None) -> Sequence[str]:
        return () if split is None else [str(pair.image) for pair in self.data.splits[split]]

    def train_loader(self) -> dict[str, Any]:
        loader = train_loader(self, self.train_dataset)
        del loader["batch_sampler"]  # crops are of one size
        if self.config.max_iters is not None:
            loader["sampler"]["samples"] = self.iterations_per_epoch * self.config.batch_size
        return {**loader, "drop_last": False}

    def validation(self, work_dir: Path) -> dict[str, Any]:
        c = self.config
        loader = test_loader(self.data, c.val_split, self.test_transforms(), workers=c.num_workers, table=self.table)
        return {
            "val_dataloader": loader,
            "val_cfg": {},
            "val_evaluator": [metric(self.data, work_dir)],
        }

    @property
    def features_are_kept(self) -> bool:
        """Whether what the encoder gives for an image is the same each time, and is to be kept."""
        c = self.config
        drawn = [*self.train_transforms(), *(c.final_pipeline or ())]
        fixed = all(kind_of_transform(given) in _FIXED for given in drawn)
        return c.cache_features and fixed and str(self.model()["backbone"]["type"]).endswith(SHELL)

    # --- network ------------------------------------------------------------------------------------------------------
    def model(self) -> dict[str, Any]:
        c, data = self.config, self.data
        settings = TileSettings.from_dict(plain(dict(c.inference)))
        given = {key: value for key, value in c.model.items() if key != "test_cfg"}
        model = plain(model_config(given, len(data.classes), in_channels=data.channels, pretrained=bool(c.pretrained)))
        model["test_cfg"] = settings.to_dict()
        if self.crop is not None:
            model["data_preprocessor"] |= {"size": list(self.crop), "size_divisor": None}
        weights = class_weights(c.class_weight, data.classes, data.counts[c.train_split]["pixels"])
        return with_losses(model, c.losses, weights, c.ohem)

    def described(self) -> dict[str, Any]:
        described = super().described()
        described["meta"]["dataset"] = self.data.name
        return described | {
            "preprocessing": {
                "pipeline": [scoped(t) for t in self.test_transforms()],
                "channels": self.data.channels,
                "ranges": dict(self.data.ranges),
                "colours": None if self.data.colours is None else [list(map(int, c)) for c in self.data.colours],
                "fingerprint": self.data.fingerprint,
            },
            "inference": self.model()["test_cfg"],
        }

    def resolved(self) -> dict[str, Any]:
        return super().resolved() | {
            "data_root": str(self.data.root),
            "data_format": self.data.format,
            "classes": self.class_names,
            "fingerprint": self.data.fingerprint,
        }
