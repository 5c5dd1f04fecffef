"""What a training of a detector tells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from densekit.tasks.detection.data import DETECTIONS, write_report
from densekit.tasks.detection.pictures import DetectionPictureHook
from densekit.tasks.detection.plan import DetectionPlan
from densekit.tasks.image_report import ImageReport

_BATCH_OF_NORMS = 4
"""Images that batch norm in a neck wants at a time."""


class DetectionReport(ImageReport):
    """The words of a run of a detector."""

    plan: DetectionPlan

    def hooks(self) -> list[Hook]:
        c = self.plan.config
        return [DetectionPictureHook(self.plan.class_names, images=c.pictures, threshold=c.score_threshold)]

    def before_training(self, runner: Any) -> list[str]:
        if not self.plan.config.pictures:
            return []
        from densekit.visualization.detection.drawing import training_mosaic

        path = Path(runner.work_dir) / "pictures" / "training.png"
        path.parent.mkdir(exist_ok=True)
        training_mosaic(self.plan.train_dataset, path, names=self.plan.class_names)
        return [f"what the network gets, after augmentation: {path}"]

    def after_training(self, runner: Any, minutes: float) -> list[str]:
        plan, folder = self.plan, Path(runner.work_dir)
        detections = folder / f"best_{DETECTIONS}"
        if not (plan.validates and detections.is_file()):
            return ["no report.html: nothing was scored"]
        finished = runner.resuming and runner.epoch == runner.started_at
        if finished and (folder / "report.html").is_file():
            return []
        from densekit.evaluation.detection import read_detections, read_truth, score_all

        truth = read_truth(plan.data.annotations[plan.config.val_split])
        found = read_detections(detections, truth, masks=None if truth.has_masks else False)
        write_report(
            plan.data,
            plan.config.val_split,
            folder,
            truth=truth,
            detections=found,
            scores=score_all(truth, found, max_dets=plan.config.max_dets),
            title=f"{Path(plan.config.filename).stem} on {plan.data.name}",
            facts=self.facts(runner, minutes),
            max_dets=plan.config.max_dets,
        )
        return [f"report: {folder / 'report.html'}"]

    def describe(self) -> list[str]:
        data, train = self.plan.data, self.plan.config.train_split
        splits = {
            split: f"{n['images']:,} images, {n['objects']:,} objects, {n['background']:,} background images (kept)"
            for split, n in data.counts.items()
        }
        notes = [found.message for found in data.findings if found.code in ("layout", "split-drawn")]
        return self.about_data(splits, notes, data.annotations[train].parent) + super().describe()

    def cautions(self) -> list[str]:
        c, lines = self.plan.config, []
        if c.batch_size < _BATCH_OF_NORMS and (necks := self._batch_normed_necks()):
            lines.append(
                f"{necks}: batch norm in the neck sees {c.batch_size} image{'s' * (c.batch_size > 1)} at a time, and "
                f"accumulate does not change that; it wants {_BATCH_OF_NORMS}: take SyncBN with several GPUs, or GN in "
                f"RCFPN"
            )
        return [*super().cautions(), *lines]

    def _batch_normed_necks(self) -> str:
        necks = self.plan.model().get("neck") or []
        necks = necks if isinstance(necks, (list, tuple)) else [necks]
        return " and ".join(str(neck["type"]).rpartition(".")[2] for neck in necks if _batch_normed(neck))


def _batch_normed(neck: Mapping[str, Any]) -> bool:
    """Whether it is a neck of densekit whose batch norms learn their statistics from the batch of one process."""
    kind = str(neck.get("type")).rpartition(".")[2]
    normed = kind == "RCFPN" or (kind == "SEPC" and neck.get("ibn", True))
    return normed and (neck.get("norm_cfg") or {"type": "BN"})["type"] == "BN"
