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

from densekit.config_tree import rebuilt
from densekit.datasets.detection import PreparedDetection
from densekit.errors import CheckpointError, DataError, class_difference, close_names
from densekit.evaluation.detection import DetectionMetric, DetectionScores
from densekit.inference.device import choose_device
from densekit.io import write_json_atomic, write_text_atomic
from densekit.io.staging import score_folder
from densekit.package import Checkpoint
from densekit.tasks.detection.data import DETECTIONS, metric, read_data, test_loader, write_report

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
        scores = {NAMES[kind]: asdict(value) for kind, value in self.scores.items()}
        write_json_atomic(folder / "scores.json", rebuilt(scores, lambda v: None if v != v else v))  # JSON has no NaN


def score_detector(
    checkpoint: Checkpoint,
    settings: Mapping[str, Any],
    *,
    split: str | None = None,
    out: Path | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> DetectionTable:
    """Score a checkpoint on the images of a split.

    Writes ``scores.csv``, ``scores.json``, ``detections.json`` (COCO results) and ``report.html``.

    Args:
        checkpoint: A detector with the classes of the data set. The transforms are its own.
        settings: Those that :mod:`densekit.tasks.detection.settings` marks as read at a test.
        split: Default: the setting ``val_split``.
        out: Folder; default see :func:`densekit.io.staging.score_folder`.
        device: See :func:`densekit.inference.device.choose_device`.
        progress: Called with (file, images done, total).

    Raises:
        CheckpointError: if the checkpoint has other classes.
        DataError: if there is no such split.
        OutputError: if the folder cannot be written.
    """
    data, masks = read_data(settings), bool(checkpoint.preprocessing.get("masks"))
    split = split or settings["val_split"]
    _check_fit(checkpoint, data, split)
    folder = score_folder(out, checkpoint.path, split)  # before the long work
    model = checkpoint.build_model().to(choose_device(device))
    measure = metric(data, split, folder, masks=masks, max_dets=settings["max_dets"])
    measure = DetectionMetric(**{key: value for key, value in measure.items() if key != "type"})
    transforms = checkpoint.preprocessing["pipeline"]
    with DefaultScope.overwrite_default_scope("mmdet"):
        loader = Runner.build_dataloader(
            test_loader(data, split, transforms, masks=masks, workers=settings["num_workers"])
        )
    measure.dataset_meta = loader.dataset.metainfo
    for done, batch in enumerate(loader):
        if progress:
            progress(Path(batch["data_samples"][0].img_path).name, done, len(loader))
        with torch.inference_mode():
            measure.process(batch, [sample.to_dict() for sample in model.test_step(batch)])
    measure.evaluate(len(loader.dataset))
    table = DetectionTable(measure.last_scores)
    table.write(folder)
    write_report(
        data,
        split,
        folder,
        truth=measure.truth,
        detections=measure.last_detections,
        scores=measure.last_scores,
        title=f"{Path(checkpoint.meta.get('config', checkpoint.path)).stem} on {data.name}",
        facts=[("checkpoint", f"{checkpoint.path}, epoch {checkpoint.meta.get('epoch', 'unknown')}")],
        max_dets=settings["max_dets"],
    )
    logger.info("scores.csv, scores.json, %s and report.html are in %s", DETECTIONS, folder)
    return table


def _check_fit(checkpoint: Checkpoint, data: PreparedDetection, split: str | None) -> None:
    """Check that the data set has the classes of a checkpoint, and the split; a split drawn otherwise is said."""
    labels = list(checkpoint.labels)
    if labels != list(data.classes):
        remedy = "score it on data of its classes"
        if set(labels) <= set(data.classes):
            remedy = f'add --cfg-options "classes={labels}"'.replace(", ", ",")
        raise CheckpointError(f"{checkpoint.path}: {class_difference(labels, list(data.classes))}; {remedy}")
    if split not in data.counts:
        raise DataError(
            f"{data.root}: has no split {split!r} (it has {', '.join(data.counts)})"
            f"{close_names(str(split), data.counts)}; choose with --split"
        )
    drawn = any(note.code == "split-drawn" for note in data.findings)
    if drawn and checkpoint.preprocessing["fingerprint"] != data.fingerprint:
        logger.warning(
            "%s: the data have no splits of their own, %r is drawn for this test; the checkpoint was trained with "
            "other data, another draw or all images, and may have learned some of these",
            data.root,
            split,
        )
