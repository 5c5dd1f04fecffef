"""What a training on volumes tells."""

from __future__ import annotations

from mmengine.hooks import Hook

from densekit.engine.run_report import RunReport
from densekit.tasks.volume.pictures import ValidationPictureHook
from densekit.tasks.volume.plan import VolumePlan

PUBLISHED = "synapse"
"""The data set whose published recipes mirror left and right without swapping labels."""
SHOWN = 3


class VolumeReport(RunReport):
    """The words of a run on volumes."""

    plan: VolumePlan

    def derived(self) -> dict[str, str]:
        return {} if self.plan.config.convention else {"convention": "the data set's own"}

    def hooks(self) -> list[Hook]:
        return [ValidationPictureHook(self.plan.class_names, cases=self.plan.config.pictures)]

    def describe(self) -> list[str]:
        """What the run is about, in a few lines for the log."""
        c, store = self.plan.config, self.plan.store
        scored = set(store.scored)
        unscored = [name for name in store.labels[1:] if name not in scored]
        lines = [
            f"data set {store.name} ({self.plan.root}): {len(self.plan.cases(c.train_split))} training cases "
            f"({c.train_split}), {len(self.plan.cases(c.val_split))} validation cases ({c.val_split}), "
            f"{len(store.labels) - 1} classes" + (f", not scored: {', '.join(unscored)}" if unscored else ""),
            f"patch {'x'.join(map(str, self.plan.patch_size))}, batch {c.batch_size}, {c.max_epochs} epochs of "
            f"{c.iterations_per_epoch} iterations, empty masks scored by the {self.plan.convention!r} convention",
        ]
        if not self.plan.validates:
            lines.append("no validation cases: best.pth will be the last epoch")
        return lines

    def cautions(self) -> list[str]:
        """What is allowed and yet may not be meant."""
        lines = self._sides()
        train_split, val_split = self.plan.config.train_split, self.plan.config.val_split
        shared = set(self.plan.cases(train_split)) & set(self.plan.cases(val_split))
        if shared:
            lines.append(
                f"{len(shared)} cases are in train_split={train_split} and in val_split={val_split}: best.pth is "
                f"chosen by cases it was trained on (val_split=None does without a choice)"
            )
        return lines

    def _sides(self) -> list[str]:
        """Whether the training teaches that left is right; the published recipes for Synapse do."""
        from densekit.datasets.transforms.mirror import changes_sides

        store = self.plan.store
        found = dict.fromkeys(t["type"] for t in self.plan.pipeline() if changes_sides(t))
        if not found or not store.mirror_pairs or store.name == PUBLISHED:
            return []
        pairs = ", ".join(" and ".join(pair) for pair in store.mirror_pairs[:SHOWN])
        pairs += " ..." * (len(store.mirror_pairs) > SHOWN)
        if list(found) == ["AnatomicalMirror"]:
            return [
                f"mirror_relabel=False: half of the patches are mirrored left to right without their labels being "
                f"swapped, so left and right are not learned apart ({pairs}); that is the published recipe for Synapse "
                f"alone, set mirror_relabel=True for data of your own"
            ]
        return [
            f"train_pipeline: {', '.join(found)} puts what is left to the right without swapping its labels, so left "
            f"and right are not learned apart ({pairs}); leave the left-right axis (2) out, and mirror it by "
            f"dict(type='AnatomicalMirror', axes=['left-right'], labels=[...], swap=[...])"
        ]
