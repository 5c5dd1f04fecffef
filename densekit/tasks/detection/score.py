"""``densekit test`` for detectors: COCO's AP on a split, and a report of what is behind it."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from densekit.config_tree import rebuilt
from densekit.datasets.detection import PreparedDetection
from densekit.errors import CheckpointError, DataError, class_difference, close_names
from densekit.evaluation.detection import DetectionScores, evaluate, read_truth, write_detections
from densekit.inference.detection import DetectionPredictor
from densekit.inference.image_run import ReadAhead
from densekit.inference.images import ImageCase
from densekit.io import write_json_atomic, write_text_atomic
from densekit.io.staging import score_folder
from densekit.package import Checkpoint
from densekit.package.seen import image_hashes, leak, trained_on
from densekit.structures.detections import Detections
from densekit.tasks.detection.data import DETECTIONS, read_data, write_report

logger = logging.getLogger("densekit")

COLUMNS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
NAMES = {"bbox": "boxes", "segm": "masks"}


@dataclass(frozen=True)
class DetectionTable:
    """The scores of a detector on a split.

    Attributes:
        scores: By IoU type, ``"bbox"`` and ``"segm"``.
        failures: Images that could not be predicted, and why; their objects count as not found.
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
        lines += [f"failed, its objects count as not found: {file}: {why}" for file, why in self.failures.items()]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write ``scores.csv`` and ``scores.json``."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["kind", "class", "objects", *COLUMNS])
        writer.writeheader()
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in self.rows())
        write_text_atomic(folder / "scores.csv", text.getvalue())
        scores = {NAMES[kind]: asdict(value) for kind, value in self.scores.items()} | {"failures": self.failures}
        write_json_atomic(folder / "scores.json", rebuilt(scores, lambda v: None if v != v else v))  # JSON has no NaN


def score_detector(
    checkpoint: Checkpoint,
    settings: Mapping[str, Any],
    *,
    split: str | None = None,
    out: Path | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
    **of_data: Any,
) -> DetectionTable:
    """Score a checkpoint on the images of a split; every image goes the way of ``densekit predict``.

    Writes ``scores.csv``, ``scores.json``, ``detections.json`` (COCO results) and ``report.html``.

    Args:
        checkpoint: A detector with the classes of the data set. The transforms are its own.
        settings: Those that :mod:`densekit.tasks.detection.settings` marks as read at a test.
        split: Default: the setting ``val_split``.
        out: Folder; default see :func:`densekit.io.staging.score_folder`.
        device: See :func:`densekit.inference.device.choose_device`.
        progress: Called with (file, images done, total).
        **of_data: ``folds``, ``fold`` and ``table``; default those of the settings.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or has other classes.
        DataError: if there is no such split.
        OutputError: if the folder cannot be written.
    """
    settings = {**settings, **of_data}
    data = read_data(settings)
    split = split or settings["val_split"]
    _check_fit(checkpoint, data, split)
    folder = score_folder(out, checkpoint.path, split)  # before the long work
    predictor = DetectionPredictor.from_checkpoint(checkpoint, device=device)
    truth = read_truth(data.annotations[split], masks=predictor.masks)
    for line in leak(trained_on(checkpoint), image_hashes(truth.images.files, data.root), split, checkpoint.path):
        logger.warning(line)
    detections, failures = _detect(predictor, truth, data.root, progress)
    write_detections(folder / DETECTIONS, detections)
    kinds = ("bbox", "segm") if predictor.masks else ("bbox",)
    scores = {kind: evaluate(truth, detections, iou_type=kind, max_dets=settings["max_dets"]) for kind in kinds}
    table = DetectionTable(scores, failures)
    table.write(folder)
    write_report(
        data,
        split,
        folder,
        truth=truth,
        detections=detections,
        scores=scores,
        title=f"{Path(checkpoint.meta.get('config', checkpoint.path)).stem} on {data.name}",
        facts=[
            ("checkpoint", f"{checkpoint.path}, epoch {checkpoint.meta.get('epoch', 'unknown')}"),
            *(("failed, its objects count as not found", reason) for reason in failures.values()),
        ],
        max_dets=settings["max_dets"],
    )
    logger.info("scores.csv, scores.json, %s and report.html are in %s", DETECTIONS, folder)
    return table


def _detect(
    predictor: DetectionPredictor, truth: Detections, root: Path, progress: Callable[[str, int, int], None] | None
) -> tuple[Detections, dict[str, str]]:
    """Find the objects of all images of a split; of those that cannot be predicted return the reason, by file."""
    images, failures = truth.images, {}
    parts = [Detections(*np.zeros((2, 0)), np.zeros((0, 4)), np.zeros(0), masks=[] if predictor.masks else None)]
    cases = [ImageCase(file, (root / file,)) for file in images.files]
    with ReadAhead(predictor, cases) as ahead:
        for place, case in enumerate(cases):
            if progress:
                progress(case.path.name, place, len(cases))
            try:
                image, prepared = ahead.take(case)
                found = predictor.predict_prepared(prepared, image)
            except DataError as error:
                failures[case.id] = str(error)
                continue
            where, scores = np.full(len(found), place), found.scores.astype(np.float64)
            parts.append(Detections(where, found.labels, found.xywh, scores, masks=found.masks))
    about = {"images": images, "names": truth.names, "category_ids": truth.category_ids}
    return Detections.join(parts, **about, where="detections"), failures


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
