"""What a training on images tells, whatever is annotated in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from densekit.datasets.shared.patient_table import meta_columns
from densekit.datasets.shared.split_file import SPLIT_FILE
from densekit.engine.run_report import RunReport
from densekit.errors import few
from densekit.tasks.image_plan import ImageData, ImagePlan

_SHOWN_FINDINGS = 12


class ImageReport(RunReport):
    """The words of a run on images."""

    plan: ImagePlan

    def untried(self) -> list[str]:
        pretrained = self.plan.config.pretrained
        return [] if pretrained is False else [f"pretrained={pretrained!r} is not looked for: random weights"]

    def derived(self) -> dict[str, str]:
        c, found = self.plan.config, {}
        if c.classes is None:
            found["classes"] = "from the data set"
        if c.data_format is None:
            found["data_format"] = "recognised"
        if c.lr_batch is not None:
            here = self.plan.images_per_step
            found["optimizer.lr"] = f"{c.optimizer['lr']:g} for {c.lr_batch} images a step, here {here}"
        if c.augment is not None:
            found["train_pipeline"] = f"with the preset augment={c.augment!r}"
        return found

    def describe(self) -> list[str]:
        """Batches, learning rate and the backbone's weights."""
        c, plan = self.plan.config, self.plan
        twice = plan.taken_twice
        lines = [
            f"batch {c.batch_size}, {c.max_epochs} epochs of {plan.iterations_per_epoch} iterations"
            + (f" ({twice} image{'s' * (twice > 1)} taken twice, so that every batch is full)" if twice else "")
        ]
        if c.lr_batch is not None:
            lines.append(
                f"learning rate {c.optimizer['lr']:g} is for {c.lr_batch} images a step, this run has "
                f"{plan.images_per_step}: {plan.optimizer()['lr']:g}"
            )
        if not plan.validates:
            lines.append("no validation: best.pth will be the last epoch, and there will be no report.html")
        return [*lines, *plan.backbone_lines]

    def about_data(self, splits: Mapping[str, str], notes: Iterable[str], folds: Path) -> list[str]:
        """What the data set is.

        Args:
            splits: What there is to say of each split.
            notes: What was found in it.
            folds: Where folds are written.
        """
        c, data, table = self.plan.config, self.plan.data, self.plan.table
        lines = [f"data set {data.name} ({data.root}): {data.layout}", *notes]
        if c.folds is not None:
            lines.append(f"all folds: {folds / SPLIT_FILE}")
        if table is not None:
            columns = few(meta_columns(table.meta.values())) or "none"
            lines += [*table.notes, f"meta-information of {len(table.meta):,} images: {columns}"]
        lines += [
            f"{split}: {splits[split]}" for split in dict.fromkeys((c.train_split, c.val_split)) if split is not None
        ]
        names = ", ".join(data.classes[:12]) + (" ..." if len(data.classes) > 12 else "")
        return [*lines, f"{len(data.classes)} classes: {names}"]

    def cautions(self) -> list[str]:
        """Warnings about the data, splits that are the same, schedules that end elsewhere than the run."""
        c = self.plan.config
        lines = finding_lines(self.plan.data)
        if c.val_split == c.train_split:
            lines.append(
                f"train_split and val_split are both {c.val_split!r}: best.pth is chosen by images it was trained on"
            )
        for number, schedule in enumerate(self.plan.schedule()):
            late = [m for m in schedule.get("milestones", ()) if m >= c.max_epochs and schedule["by_epoch"]]
            if late:
                lines.append(
                    f"schedule.{number}: milestones {late} lie beyond max_epochs={c.max_epochs}, the learning rate "
                    f"does not drop there"
                )
            steps = self.plan.iterations_per_epoch * c.max_epochs
            own = "end" in c.schedule[number] and not schedule["by_epoch"]  # else it ends with the run
            if own and schedule.get("begin", 0) == 0 and schedule["end"] > steps:
                lines.append(
                    f"schedule.{number}: ends after {schedule['end']} iterations, the run has {steps}: it does not get "
                    f"that far"
                )
        return lines

    def facts(self, runner: Any, minutes: float) -> list[tuple[str, str]]:
        """Rows of ``report.html`` about the run."""
        c = self.plan.config
        took = "" if runner.resuming else f", {minutes:.1f} minutes"
        return [
            ("training", f"{runner.epoch} epochs, seed {c.seed}{took}"),
            ("weights", f"best.pth, {self.kept(runner)}" + (", moving average" if c.ema else "")),
        ]


def finding_lines(data: ImageData) -> list[str]:
    """The warnings about a data set, each in a line."""
    found = [f for f in data.findings if f.severity == "warning"]
    lines = [
        f"{f.message}: {f.count:,}"
        + (f", e.g. {f.examples[0].where}" if f.examples else "")
        + (f"; {f.remedy}" if f.remedy else "")
        for f in found[:_SHOWN_FINDINGS]
    ]
    if len(found) > _SHOWN_FINDINGS:
        lines.append(f"{len(found) - _SHOWN_FINDINGS} more kinds of warning: `densekit check {data.root}`")
    return lines
