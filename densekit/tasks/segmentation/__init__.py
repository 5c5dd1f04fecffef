"""Semantic segmentation: a class for each pixel of images, aerial photographs and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from densekit.tasks.base import FOLDS, FORMAT, Option, Task, register

if TYPE_CHECKING:
    from mmengine.config import Config

    from densekit.engine.run_report import RunReport
    from densekit.engine.settings import Setting
    from densekit.inference.inputs import Wanted
    from densekit.inference.run import RunResult
    from densekit.inference.segmentation import SegmentationPredictor
    from densekit.package import Checkpoint
    from densekit.tasks.segmentation.plan import SegmentationPlan
    from densekit.tasks.segmentation.score import SegmentationTable

_CLASSES = Option(
    "--classes", "CSV, JSON or TXT with the names of the classes, and their colours or values", {"metavar": "FILE"}
)


@register
class SegmentationTask(Task):
    """Semantic segmentation of images."""

    name = "segmentation"
    does = "segments images"
    options: ClassVar = {
        "train": (_CLASSES, *FOLDS),
        "test": (_CLASSES, *FOLDS),
        "predict": (
            Option("--probabilities", "write the probability of each class too", {"action": "store_true"}),
            Option("--tta", "average over scales 0.5 to 1.75 and mirrored images", {"action": "store_true"}),
        ),
        "check": (
            _CLASSES,
            FORMAT,
            Option("--html", "write a page with pictures of the findings", {"metavar": "FILE"}),
        ),
    }

    @cached_property
    def settings(self) -> Mapping[str, Setting]:
        from densekit.tasks.segmentation.settings import SETTINGS

        return SETTINGS

    @cached_property
    def inputs(self) -> Wanted:
        from densekit.inference.inputs import IMAGES

        return IMAGES

    def plan(self, config: Config, data: str | Path | None) -> SegmentationPlan:
        from densekit.tasks.segmentation.plan import SegmentationPlan

        return SegmentationPlan(config, data)

    def report(self, plan: SegmentationPlan) -> RunReport:
        from densekit.tasks.segmentation.report import SegmentationReport

        return SegmentationReport(plan)

    def predictor(self, checkpoint: Checkpoint, *, device: str = "auto", **options: Any) -> SegmentationPredictor:
        """The network of a checkpoint; the options are ``probabilities`` and ``tta``."""
        from densekit.inference.segmentation import SegmentationPredictor

        return SegmentationPredictor.from_checkpoint(checkpoint, device=device, **options)

    def predict_many(
        self, checkpoint: Checkpoint, inputs: Sequence[str | Path], out: Path, **options: Any
    ) -> RunResult:
        from densekit.inference.segmentation import predict_segmentations

        return predict_segmentations(checkpoint, inputs, out, **options)

    def score(
        self, predictor: SegmentationPredictor, data: str | Path, split: str | None = None, **how: Any
    ) -> SegmentationTable:
        from densekit.tasks.segmentation.score import score_segmentor

        return score_segmentor(predictor, data, split, **how)

    def recognizes(self, path: Path) -> bool:
        from densekit.datasets.segmentation import looks_like_segmentation

        return looks_like_segmentation(path)

    def check(
        self,
        path: Path,
        *,
        json_path: Path | None = None,
        html: str | None = None,
        classes: str | None = None,
        format: str | None = None,
    ) -> int:
        from densekit.datasets.segmentation import check_segmentation

        inspection = check_segmentation(path, json_path=json_path, classes=classes, format=format)
        if html:
            from densekit.visualization.segmentation.dataset_report import write_dataset_report

            write_dataset_report(html, inspection)
        return inspection.status
