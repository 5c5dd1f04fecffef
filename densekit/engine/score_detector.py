"""``densekit test`` for detectors: COCO's AP on a split, and a report of what is behind it."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from densekit.engine.detection import DETECTIONS, DetectionPlan
from densekit.errors import CheckpointError, DataError, class_difference, close_names
from densekit.evaluation.detection import DetectionMetric, DetectionScores
from densekit.inference.device import choose_device
from densekit.io import write_json_atomic, write_text_atomic
from densekit.io.staging import staging_folder
from densekit.package import load_checkpoint

logger = logging.getLogger("densekit")

COLUMNS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
NAMES = {"bbox": "boxes", "segm": "masks"}


@dataclass(frozen=True)
class DetectionTable:
    """The scores of a detector on a split.

    Attributes:
        scores: By IoU type, ``"bbox"`` and ``"segm"``.
        failures: Always empty: an image that cannot be read ends the test.
    """

    scores: Mapping[str, DetectionScores]
    failures: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """One row per class and kind, the mean over the classes first; NaN where there is nothing to find."""
        rows = []
        for kind, scores in self.scores.items():
            means = {column: getattr(scores, column) for column in COLUMNS}
            objects = sum(row["objects"] for row in scores.per_class.values())
            rows.append({"kind": NAMES[kind], "class": "all", "objects": objects, **means})
            rows += [{"kind": NAMES[kind], "class": name, **row} for name, row in scores.per_class.items()]
        return rows

    def render(self) -> str:
        """A table for the screen."""
        rows = self.rows()
        width = max(len(row["class"]) for row in rows)
        lines = [f"{'':6} {'class':<{width}} {'objects':>8} " + " ".join(f"{column:>9}" for column in COLUMNS)]
        for row in rows:
            cells = " ".join("        -" if row[c] != row[c] else f"{row[c]:9.3f}" for c in COLUMNS)
            lines.append(f"{row['kind']:6} {row['class']:<{width}} {row['objects']:>8,} {cells}")
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write ``scores.csv`` and ``scores.json``."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["kind", "class", "objects", *COLUMNS])
        writer.writeheader()
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in self.rows())
        write_text_atomic(folder / "scores.csv", text.getvalue())
        scores = {NAMES[kind]: _without_nan(asdict(value)) for kind, value in self.scores.items()}
        write_json_atomic(folder / "scores.json", scores)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(child) for key, child in value.items()}
    return None if isinstance(value, float) and value != value else value


def score_folder(out: str | Path | None, checkpoint: str | Path, split: str) -> Path:
    """Return the folder for the scores of a checkpoint on a split, made and seen to take files.

    Args:
        out: The folder asked for; None: ``test_<checkpoint>_<split>`` beside it, so that what its training left stays.
        checkpoint: The file that is scored.
        split: What it is scored on.

    Raises:
        OutputError: if the folder cannot be written.
    """
    folder = Path(out) if out else Path(checkpoint).parent / f"test_{Path(checkpoint).stem}_{split}"
    with staging_folder(folder):
        return folder


def score_detector(
    plan: DetectionPlan,
    checkpoint: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> DetectionTable:
    """Score a checkpoint on the images of a split.

    Writes ``scores.csv``, ``scores.json``, ``detections.json`` (COCO results) and ``report.html``.

    Args:
        plan: Config and data set. The transforms are those of the checkpoint.
        checkpoint: ``best.pth`` or ``last.pth`` of a detector with the same classes.
        split: Default: the config's ``val_split``.
        out: Folder; default see :func:`score_folder`.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...
        progress: Called with (file, images done, total).

    Raises:
        CheckpointError: if the checkpoint is no detector's, or has other classes.
        DataError: if there is no such split.
        OutputError: if the folder cannot be written.
    """
    found = load_checkpoint(checkpoint)
    if found.task != "detection":
        raise CheckpointError(f"{checkpoint}: predicts volumes; score it with the config it was trained with")
    if list(found.labels) != plan.class_names:
        remedy = "score it on data of its classes"
        if set(found.labels) <= set(plan.class_names):
            remedy = f'add --cfg-options "classes={list(found.labels)}"'.replace(", ", ",")
        raise CheckpointError(f"{checkpoint}: {class_difference(found.labels, plan.class_names)}; {remedy}")
    if plan.masks and not found.preprocessing.get("masks"):
        raise CheckpointError(
            f"{checkpoint}: predicts boxes alone, {plan.config.filename} is of a network with masks; score it with the "
            f"config it was trained with"
        )
    split = split or plan.config.val_split
    if split not in plan.data.counts:
        raise DataError(
            f"{plan.data.root}: has no split {split!r} (it has {', '.join(plan.data.counts)})"
            f"{close_names(str(split), plan.data.counts)}; choose with --split"
        )
    drawn = any(note.code == "split-drawn" for note in plan.data.findings)
    if drawn and found.preprocessing["fingerprint"] != plan.data.fingerprint:
        logger.warning(
            "%s: the data have no splits of their own, %r is drawn for this test; the checkpoint was trained with "
            "other data, another draw or all images, and may have learned some of these",
            plan.data.root,
            split,
        )
    folder = score_folder(out, checkpoint, split)  # before the long work
    model = found.build_model().to(choose_device(device))
    metric = DetectionMetric(**{k: v for k, v in plan.metric(split, folder).items() if k != "type"})
    with DefaultScope.overwrite_default_scope(plan.scope):
        loader = Runner.build_dataloader(plan.test_loader(split, found.preprocessing["pipeline"]))
    metric.dataset_meta = loader.dataset.metainfo
    for done, batch in enumerate(loader):
        if progress:
            progress(Path(batch["data_samples"][0].img_path).name, done, len(loader))
        with torch.inference_mode():
            metric.process(batch, [sample.to_dict() for sample in model.test_step(batch)])
    metric.evaluate(len(loader.dataset))
    table = DetectionTable(metric.last_scores)
    table.write(folder)
    plan.write_report(
        folder,
        split,
        folder / DETECTIONS,
        [("checkpoint", f"{checkpoint}, epoch {found.meta.get('epoch', 'unknown')}")],
    )
    logger.info("scores.csv, scores.json, %s and report.html are in %s", DETECTIONS, folder)
    return table
