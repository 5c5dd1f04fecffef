"""What a training of a segmentor tells."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook

from densekit.errors import few
from densekit.tasks.image_report import ImageReport
from densekit.tasks.segmentation.data import COUNTS, write_report
from densekit.tasks.segmentation.pictures import SegmentationPictureHook
from densekit.tasks.segmentation.plan import SegmentationPlan

FEATURES = "features"
"""Folder of what a frozen encoder gives, in the work folder."""
_RARE = 0.001
"""Share of the training's pixels below which a class is named as rare."""


class SegmentationReport(ImageReport):
    """The words of a run of a segmentor."""

    plan: SegmentationPlan

    def derived(self) -> dict[str, str]:
        found = super().derived()
        if self.plan.config.max_iters is not None:
            found["repeat"] = f"so that an epoch has {self.plan.iterations_per_epoch} iterations"
        return found

    def hooks(self) -> list[Hook]:
        c, plan = self.plan.config, self.plan
        return [SegmentationPictureHook(plan.data, c.val_split, images=c.pictures)] if c.pictures else []

    def before_training(self, runner: Any) -> list[str]:
        plan, lines = self.plan, []
        if plan.features_are_kept:
            from densekit.models.assemblies.kept_features import FeatureStore

            folder = Path(runner.work_dir) / FEATURES
            runner.bare_model().features = FeatureStore(folder)
            lines.append(
                f"the encoder is frozen and nothing is drawn at random: what it gives for an image is kept in {folder} "
                f"until the run is finished"
            )
        if not plan.config.pictures:
            return lines
        from densekit.visualization.segmentation.training import training_mosaic

        path = Path(runner.work_dir) / "pictures" / "training.png"
        path.parent.mkdir(exist_ok=True)
        training_mosaic(plan.train_dataset, path, names=plan.class_names, colours=plan.data.colours)
        return [*lines, f"what the network gets, after augmentation: {path}"]

    def after_training(self, runner: Any, minutes: float) -> list[str]:
        plan, folder = self.plan, Path(runner.work_dir)
        shutil.rmtree(folder / FEATURES, ignore_errors=True)
        counts = folder / f"best_{COUNTS}"
        if not (plan.validates and counts.is_file()):
            return ["no report.html: nothing was scored"]
        finished = runner.resuming and runner.epoch == runner.started_at
        if finished and (folder / "report.html").is_file():
            return []
        write_report(
            plan.data,
            plan.config.val_split,
            folder,
            counts=counts,
            title=f"{Path(plan.config.filename).stem} on {plan.data.name}",
            facts=self.facts(runner, minutes),
        )
        return [f"report: {folder / 'report.html'}"]

    def describe(self) -> list[str]:
        data, splits = self.plan.data, {}
        for split, n in data.counts.items():
            ignored = n["ignored"] / max(1, n["ignored"] + n["pixels"].sum())
            splits[split] = f"{n['images']:,} images, {ignored:.1%} of their pixels without a class"
        notes = [found.message for found in data.findings if found.severity == "note"]
        lines = self.about_data(splits, notes, data.folder) + super().describe()
        if left_out := self.plan.left_out:
            lines.append(f"{few(left_out)}: left out, images of {data.channels} channels cannot go through")
        return lines

    def cautions(self) -> list[str]:
        data, lines = self.plan.data, []
        pixels = np.asarray(data.counts[self.plan.config.train_split]["pixels"])
        absent = [name for name, n in zip(data.classes, pixels, strict=True) if not n]
        rare = [name for name, n in zip(data.classes, pixels, strict=True) if 0 < n < _RARE * pixels.sum()]
        if absent:
            lines.append(f"no pixel of the training images is {few(absent)}: it cannot be learned")
        if rare and self.plan.config.class_weight is None:
            lines.append(
                f"{few(rare)}: less than {_RARE:.1%} of the training's pixels each; class_weight='balanced' weighs them"
            )
        return [*super().cautions(), *lines]
