"""Training detectors: what follows from a config and a data set of boxes or masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densekit.config_tree import plain, types
from densekit.datasets.detection import PreparedDetection
from densekit.datasets.detection.worst_batch import WorstBatch, worst_batch
from densekit.datasets.shared.patient_table import PatientTable
from densekit.errors import ConfigError, DataError, close_names
from densekit.models.assemble import model_config
from densekit.tasks.detection.data import DETECTIONS, metric, read_data, read_table, test_loader
from densekit.tasks.images import ImagePlan, scoped, train_loader
from densekit.visualization.shared.curves import ScoreCurve

_MASKED = re.compile(r"Mask|SOLO|CondInst|QueryInst|PointRend|YOLACT|BoxInst|Ins(Sep)?(BN)?Head$")


class DetectionPlan(ImagePlan):
    """A detection config with its data set.

    Args:
        config: Complete, with its values checked.
        data: Data set of any recognised layout that replaces ``data_root``.

    Raises:
        ConfigError: if no data set is given.
        DataError: if the data set is missing or has errors.
    """

    scope = "mmdet"
    beside = (DETECTIONS,)
    smaller = "the scale of the Resize transforms"

    def __init__(self, config: Config, data: str | Path | None = None) -> None:
        super().__init__(config)
        root = data or config.data_root
        if root is None:
            raise ConfigError(f"{config.filename}: no data_root; give the data set with --data=PATH")
        if config.table is not None:
            config.table = str(Path(config.table).expanduser().resolve())  # the checkpoint carries it
        self.data: PreparedDetection = read_data({**config, "data_root": root}, self.input_size())

    @property
    def score(self) -> str:
        return "mask_AP" if self.masks else "AP"

    @property
    def curve(self) -> ScoreCurve:
        if not self.masks:
            beside = ("AP50", "AP75")
            return ScoreCurve("AP", "Validation AP, boxes", "Validation AP per class, boxes", beside)
        beside = ("mask_AP50", "AP", "AP50")
        return ScoreCurve("mask_AP", "Validation AP, masks and boxes", "Validation AP per class, masks", beside)

    @cached_property
    def masks(self) -> bool:
        """Whether the network predicts masks as well as boxes."""
        return any(_MASKED.search(str(kind)) for kind in types(self.model()))

    @property
    def validates(self) -> bool:
        return self.config.val_split is not None

    @property
    def class_names(self) -> list[str]:
        return list(self.data.classes)

    @property
    def images(self) -> int:
        return self.data.counts[self.config.train_split]["images"]

    def check_training(self) -> None:
        c = self.config
        only = [found.message for found in self.data.findings if found.code == "only-scored"]
        if only and c.train_split not in self.data.counts:
            raise DataError(f"{self.data.root}: {only[0]}; `densekit check` says what was found")
        for key in ("train_split", "val_split"):
            split = c[key]
            if split is not None and split not in self.data.counts:
                raise DataError(
                    f"{self.data.root}: has no split {split!r} (it has {', '.join(self.data.counts)})"
                    f"{close_names(split, self.data.counts)}; set {key}, val_split=None does without a validation"
                )
        if not self.data.counts[c.train_split]["objects"]:
            raise DataError(
                f"{self.data.root}: no image of split {c.train_split!r} has an object; there is nothing to learn"
            )
        if self.masks and not self.data.has_masks:
            raise DataError(
                f"{self.data.root}: {c.filename} trains a network that predicts masks, but the data have boxes without "
                f"outlines; take a config without mask_head, or annotate outlines"
            )
        super().check_training()

    @cached_property
    def table(self) -> PatientTable | None:
        """What is known of the images besides."""
        return None if self.config.table is None else read_table(self.data, self.config.table)

    # --- data ---------------------------------------------------------------------------------------------------------
    @cached_property
    def train_dataset(self) -> Any:
        """The training images as :class:`~densekit.datasets.shared.epochs.SeededDataset`."""
        from densekit.datasets.detection.loading import with_loading
        from densekit.datasets.detection.training import coco_dataset
        from densekit.datasets.shared.epochs import SeededDataset

        c = self.config

        def images(key: str) -> Any:
            pipeline = with_loading(self.train_transforms(key), masks=self.masks, ranges=self.data.ranges)
            data, split = self.data, c.train_split
            return coco_dataset(data.annotations[split], data.root, data.classes, pipeline, table=self.table)

        final = None if c.final_pipeline is None else (images("final_pipeline"), c.max_epochs - c.final_epochs)
        return SeededDataset(images("train_pipeline"), c.seed, c.repeat, final)

    def hashes(self, split: str | None) -> dict[str, str]:
        from densekit.package.seen import image_hashes

        return image_hashes(self._files(split), self.data.root)

    def looks(self, split: str | None) -> dict[str, bytes]:
        from densekit.package.seen import looks

        return looks(self._files(split), self.data.root)

    def _files(self, split: str | None) -> Sequence[str]:
        from densekit.evaluation.detection import read_truth

        return () if split is None else read_truth(self.data.annotations[split], masks=False).images.files

    def train_loader(self) -> dict[str, Any]:
        return train_loader(self, self.train_dataset)

    def worst_batch(self, batch_size: int) -> WorstBatch:
        return worst_batch(self.train_dataset, batch_size, largest=self.input_size())

    def validation(self, work_dir: Path) -> dict[str, Any]:
        c = self.config
        return {
            "val_dataloader": test_loader(
                self.data,
                c.val_split,
                self.test_transforms(),
                masks=self.masks,
                workers=c.num_workers,
                table=self.table,
            ),
            "val_cfg": {},
            "val_evaluator": [metric(self.data, c.val_split, work_dir, masks=self.masks, max_dets=c.max_dets)],
        }

    # --- network ------------------------------------------------------------------------------------------------------
    def model(self) -> dict[str, Any]:
        return plain(model_config(self.config.model, len(self.data.classes), pretrained=bool(self.config.pretrained)))

    def described(self) -> dict[str, Any]:
        described = super().described()
        described["meta"]["dataset"] = self.data.name
        return described | {
            "preprocessing": {
                "pipeline": [scoped(t) for t in self.test_transforms()],
                "masks": self.masks,
                "ranges": dict(self.data.ranges),
                "fingerprint": self.data.fingerprint,
            },
            "inference": {"score_threshold": self.config.score_threshold},
        }

    def resolved(self) -> dict[str, Any]:
        return super().resolved() | {
            "data_root": str(self.data.root),
            "data_format": self.data.format,
            "classes": self.class_names,
            "fingerprint": self.data.fingerprint,
        }
