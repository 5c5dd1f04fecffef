"""Training segmentors: what follows from a config and a data set of images and label images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import pseudo_collate
from mmengine.dist import get_world_size

from densekit.config_tree import plain
from densekit.datasets.segmentation import PreparedSegmentation
from densekit.engine.plan import stretched
from densekit.engine.preflight import SampleBatch
from densekit.errors import ConfigError, DataError
from densekit.models.assemble import model_config
from densekit.models.frozen import SHELL
from densekit.ops.tile_settings import TileSettings
from densekit.random_state import random_state_kept
from densekit.tasks.image_plan import ImagePlan, kind_of_transform, scoped, train_loader
from densekit.tasks.segmentation.data import COUNTS, metric, read_data, test_loader
from densekit.tasks.segmentation.losses import class_weights, with_losses
from densekit.visualization.shared.curves import ScoreCurve

_COLOUR = ("PhotoMetricDistortion", "Albumentations", "CLAHE", "RGB2Gray", "AdjustGamma")
"""Transforms of images with three channels of 8 bits."""

_FIXED = ("Resize", "ResizeToMultiple", "ResizeShortestEdge", "Pad", "CLAHE", "RGB2Gray", "AdjustGamma")
"""Transforms that draw nothing at random."""


class SegmentationPlan(ImagePlan):
    """A segmentation config with its data set."""

    scope = "mmseg"
    score = "mIoU"
    beside = (COUNTS,)
    smaller = "crop_size of the RandomCrop"
    masks = False
    paths = ("table", "classes")

    def read(self, settings: Mapping[str, Any]) -> PreparedSegmentation:
        return read_data(settings)

    @property
    def curve(self) -> ScoreCurve:
        return ScoreCurve("mIoU", "Validation mIoU", "Validation IoU per class", ("mAcc", "aAcc"))

    @property
    def iterations_per_epoch(self) -> int:
        c = self.config
        if c.max_iters is None:
            return super().iterations_per_epoch
        return c.max_iters // c.max_epochs * c.accumulate

    def lower(self, batch_size: int, accumulate: int) -> None:
        schedule = self.config.schedule
        super().lower(batch_size, accumulate)
        self.config.schedule = schedule

    def _with_end(self, given: dict[str, Any]) -> dict[str, Any]:
        """Schedules count steps, as ``max_iters`` does and as they are published; MMEngine counts batches."""
        return super()._with_end(stretched({"by_epoch": True, **given}, self.config.accumulate))

    @property
    def taken_twice(self) -> int:
        return super().taken_twice if self.config.max_iters is None else 0

    def check_training(self) -> None:
        c = self.config
        self.check_splits()
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

    def samples(self, pipeline: str) -> Any:
        from densekit.datasets.segmentation.dataset import SegmentationDataset

        transforms = self.train_transforms(pipeline)
        return SegmentationDataset(self.data, self.config.train_split, transforms, table=self.table)

    @property
    def repeat(self) -> int:
        """Times the images are gone through in an epoch, at least."""
        c = self.config
        if c.max_iters is None:
            return c.repeat
        return -(-self.iterations_per_epoch * c.batch_size * get_world_size() // self.images)

    def files(self, split: str) -> Sequence[str]:
        return [pair.image for pair in self.data.splits[split]]

    def train_loader(self) -> dict[str, Any]:
        loader = train_loader(self, self.train_dataset)
        del loader["batch_sampler"]  # crops are of one size
        if self.config.max_iters is not None:
            loader["sampler"]["samples"] = self.iterations_per_epoch * self.config.batch_size
        return {**loader, "drop_last": False}

    def worst_batch(self, batch_size: int) -> SampleBatch:
        """Crops, or the largest images where there are none."""
        sizes = [width * height for _, _, (width, height) in self.data.splits[self.config.train_split]]
        largest = sorted(range(len(sizes)), key=lambda n: -sizes[n])
        with random_state_kept():
            samples = [self.train_dataset[largest[n % len(sizes)]] for n in range(batch_size)]
        return SampleBatch(samples, ("image", "images"), pseudo_collate)

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
        return super().described() | {
            "preprocessing": {
                "pipeline": [scoped(t) for t in self.test_transforms()],
                "channels": self.data.channels,
                "ranges": dict(self.data.ranges),
                "colours": None if self.data.colours is None else [list(map(int, c)) for c in self.data.colours],
                "fingerprint": self.data.fingerprint,
            },
            "inference": self.model()["test_cfg"],
        }
