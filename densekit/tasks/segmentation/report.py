"""What a training of a segmentor tells."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook

from densekit.datasets.shared.patient_table import meta_columns
from densekit.datasets.shared.split_file import SPLIT_FILE
from densekit.errors import few
from densekit.tasks.images import ImageReport
from densekit.tasks.segmentation.data import COUNTS, write_report
from densekit.tasks.segmentation.pictures import SegmentationPictureHook
from densekit.tasks.segmentation.plan import SegmentationPlan

FEATURES = "features"
"""Folder of what a frozen encoder gives, in the work folder."""
_SHOWN_FINDINGS = 12
_RARE = 0.001
"""Share of the training's pixels below which a class is named as rare."""


class SegmentationReport(ImageReport):
    """The words of a run of a segmentor."""

    plan: SegmentationPlan

    def derived(self) -> dict[str, str]:
        c, found = self.plan.config, super().derived()
        if c.classes is None:
            found["classes"] = "from the data set"
        if c.data_format is None:
            found["data_format"] = "recognised"
        if c.max_iters is not None:
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
        took = "" if runner.resuming else f", {minutes:.1f} minutes"
        write_report(
            plan.data,
            plan.config.val_split,
            folder,
            counts=counts,
            title=f"{Path(plan.config.filename).stem} on {plan.data.name}",
            facts=[
                ("training", f"{runner.epoch} epochs, seed {plan.config.seed}{took}"),
                ("weights", f"best.pth, {self.kept(runner)}" + (", moving average" if plan.config.ema else "")),
            ],
        )
        return [f"report: {folder / 'report.html'}"]

    def describe(self) -> list[str]:
        c, data = self.plan.config, self.plan.data
        lines = [f"data set {data.name} ({data.root}): {data.layout}"]
        lines += [found.message for found in data.findings if found.severity == "note"]
        if c.folds is not None:
            lines.append(f"all folds: {data.folder / SPLIT_FILE}")
        if (table := self.plan.table) is not None:
            columns = few(meta_columns(table.meta.values())) or "none"
            lines += [*table.notes, f"meta-information of {len(table.meta):,} images: {columns}"]
        for split in dict.fromkeys((c.train_split, c.val_split)):
            if split is not None:
                n = data.counts[split]
                ignored = n["ignored"] / max(1, n["ignored"] + n["pixels"].sum())
                lines.append(f"{split}: {n['images']:,} images, {ignored:.1%} of their pixels without a class")
        names = ", ".join(data.classes[:12]) + (" ..." if len(data.classes) > 12 else "")
        lines += [f"{len(data.classes)} classes: {names}", *super().describe()]
        if left_out := self.plan.left_out:
            lines.append(f"{few(left_out)}: left out, images of {data.channels} channels cannot go through")
        if not self.plan.validates:
            lines.append("no validation: best.pth will be the last epoch, and there will be no report.html")
        return lines

    def cautions(self) -> list[str]:
        data = self.plan.data
        found = [f for f in data.findings if f.severity == "warning"]
        lines = [
            f"{f.message}: {f.count:,}"
            + (f", e.g. {f.examples[0].where}" if f.examples else "")
            + (f"; {f.remedy}" if f.remedy else "")
            for f in found[:_SHOWN_FINDINGS]
        ]
        if len(found) > _SHOWN_FINDINGS:
            lines.append(f"{len(found) - _SHOWN_FINDINGS} more kinds of warning: `densekit check {data.root}`")
        pixels = np.asarray(data.counts[self.plan.config.train_split]["pixels"])
        absent = [name for name, n in zip(data.classes, pixels, strict=True) if not n]
        rare = [name for name, n in zip(data.classes, pixels, strict=True) if 0 < n < _RARE * pixels.sum()]
        if absent:
            lines.append(f"no pixel of the training images is {few(absent)}: it cannot be learned")
        if rare and self.plan.config.class_weight is None:
            lines.append(
                f"{few(rare)}: less than {_RARE:.1%} of the training's pixels each; class_weight='balanced' weighs them"
            )
        return [*lines, *super().cautions()]
