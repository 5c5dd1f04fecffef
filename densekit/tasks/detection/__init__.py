"""Detection: boxes, and masks where the network has them, of the objects in images and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from densekit.tasks.base import FOLDS, FORMAT, Option, Task, register

if TYPE_CHECKING:
    from mmengine.config import Config

    from densekit.engine.config import Override
    from densekit.engine.run_report import RunReport
    from densekit.engine.settings import Setting
    from densekit.inference.detection import DetectionPredictor
    from densekit.inference.inputs import Wanted
    from densekit.inference.run import RunResult
    from densekit.package import Checkpoint
    from densekit.tasks.detection.plan import DetectionPlan
    from densekit.tasks.detection.score import DetectionTable


@register
class DetectionTask(Task):
    """Detection and instance segmentation in images."""

    name = "detection"
    does = "finds objects in images"
    options: ClassVar = {
        "train": FOLDS,
        "test": FOLDS,
        "predict": (Option("--threshold", "lowest score that is shown (default: the checkpoint's)", {"type": float}),),
        "check": (
            FORMAT,
            Option("--html", "write a page with pictures of the findings", {"metavar": "FILE"}),
        ),
    }

    @cached_property
    def settings(self) -> Mapping[str, Setting]:
        from densekit.tasks.detection.settings import SETTINGS

        return SETTINGS

    @cached_property
    def inputs(self) -> Wanted:
        from densekit.inference.inputs import IMAGES

        return IMAGES

    @cached_property
    def foreign(self) -> Mapping[str, str]:
        from densekit.tasks.detection.mmdetection import READ_FROM

        return READ_FROM

    def adopt(self, config: Config, path: Path, options: Sequence[Override]) -> Mapping[str, Any] | None:
        """The keys that a config of MMDetection stands for."""
        from densekit.tasks.detection.mmdetection import adopt

        return adopt(config, path, options, self.settings)

    def plan(self, config: Config, data: str | Path | None) -> DetectionPlan:
        from densekit.tasks.detection.plan import DetectionPlan

        return DetectionPlan(config, data)

    def report(self, plan: DetectionPlan) -> RunReport:
        from densekit.tasks.detection.report import DetectionReport

        return DetectionReport(plan)

    def predictor(self, checkpoint: Checkpoint, *, device: str = "auto", **options: Any) -> DetectionPredictor:
        """The network of a checkpoint; the option is ``threshold``."""
        from densekit.inference.detection import DetectionPredictor

        return DetectionPredictor.from_checkpoint(checkpoint, device=device, **options)

    def predict_many(
        self, checkpoint: Checkpoint, inputs: Sequence[str | Path], out: Path, **options: Any
    ) -> RunResult:
        from densekit.inference.detection import predict_detections

        return predict_detections(checkpoint, inputs, out, **options)

    def score(
        self, predictor: DetectionPredictor, data: str | Path, split: str | None = None, **how: Any
    ) -> DetectionTable:
        from densekit.tasks.detection.score import score_detector

        return score_detector(predictor, data, split, **how)

    def recognizes(self, path: Path) -> bool:
        return path.exists()

    def check(
        self,
        path: Path,
        *,
        json_path: Path | None = None,
        html: str | None = None,
        format: str | None = None,
    ) -> int:
        from densekit.datasets.detection import check_detection

        inspection = check_detection(path, json_path=json_path, format=format)
        if html:
            from densekit.visualization.detection.dataset_report import write_dataset_report

            write_dataset_report(html, inspection)
        return inspection.status
