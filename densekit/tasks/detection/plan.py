"""Training detectors: what follows from a config and a data set of boxes or masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from densekit.config_tree import plain, types
from densekit.datasets.detection import PreparedDetection
from densekit.datasets.detection.worst_batch import WorstBatch, worst_batch
from densekit.errors import DataError
from densekit.models.assemble import model_config
from densekit.tasks.detection.data import DETECTIONS, metric, read_data, test_loader
from densekit.tasks.image_plan import ImagePlan, scoped, train_loader
from densekit.visualization.shared.curves import ScoreCurve

_MASKED = re.compile(r"Mask|SOLO|CondInst|QueryInst|PointRend|YOLACT|BoxInst|Ins(Sep)?(BN)?Head$")


class DetectionPlan(ImagePlan):
    """A detection config with its data set."""

    scope = "mmdet"
    beside = (DETECTIONS,)
    smaller = "the scale of the Resize transforms"

    def read(self, settings: Mapping[str, Any]) -> PreparedDetection:
        return read_data(settings, self.input_size())

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

    def check_training(self) -> None:
        c = self.config
        only = [found.message for found in self.data.findings if found.code == "only-scored"]
        if only and c.train_split not in self.data.counts:
            raise DataError(f"{self.data.root}: {only[0]}; `densekit check` says what was found")
        self.check_splits()
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

    # --- data ---------------------------------------------------------------------------------------------------------
    def samples(self, pipeline: str) -> Any:
        from densekit.datasets.detection.loading import with_loading
        from densekit.datasets.detection.training import coco_dataset

        data, split = self.data, self.config.train_split
        transforms = with_loading(self.train_transforms(pipeline), masks=self.masks, ranges=data.ranges)
        return coco_dataset(data.annotations[split], data.root, data.classes, transforms, table=self.table)

    def files(self, split: str) -> Sequence[str]:
        from densekit.evaluation.detection import read_truth

        return read_truth(self.data.annotations[split], masks=False).images.files

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
        return super().described() | {
            "preprocessing": {
                "pipeline": [scoped(t) for t in self.test_transforms()],
                "masks": self.masks,
                "ranges": dict(self.data.ranges),
                "fingerprint": self.data.fingerprint,
            },
            "inference": {"score_threshold": self.config.score_threshold},
        }
