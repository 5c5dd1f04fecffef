"""``densekit test`` for detectors: COCO's AP on a split, and a report of what is behind it."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from densekit.config_tree import rebuilt
from densekit.errors import DataError
from densekit.evaluation.detection import DetectionScores, evaluate, read_truth, write_detections
from densekit.inference.detection import DetectionPredictor
from densekit.inference.image_run import ReadAhead
from densekit.inference.images import ImageCase
from densekit.io import write_json_atomic, write_text_atomic
from densekit.io.staging import score_folder
from densekit.package import Checkpoint
from densekit.structures.class_names import by_name
from densekit.structures.detections import Detections
from densekit.tasks.detection.data import DETECTIONS, read_data, write_report
from densekit.tasks.image_score import check_fit, known_images, once

logger = logging.getLogger("densekit")

COLUMNS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
FAILED = "failed, its objects count as not found"
NAMES = {"bbox": "boxes", "segm": "masks"}


@dataclass(frozen=True, repr=False)
class DetectionTable:
    """The scores of a detector on a split.

    Attributes:
        scores: By IoU type, ``"bbox"`` and ``"segm"``.
        failures: Images that could not be predicted, and why; their objects count as not found.
        notes: What must be known to read the scores: images that were trained on, limits that were reached.
    """

    scores: Mapping[str, DetectionScores]
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        return self.render()

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
        lines += [f"{FAILED}: {once(file, why)}" for file, why in self.failures.items()]
        return "\n".join([*lines, *self.notes])

    def write(self, folder: Path) -> None:
        """Write ``scores.csv`` and ``scores.json``."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["kind", "class", "objects", *COLUMNS])
        writer.writeheader()
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in self.rows())
        write_text_atomic(folder / "scores.csv", text.getvalue())
        scores = {NAMES[kind]: asdict(value) for kind, value in self.scores.items()}
        scores |= {"failures": self.failures, "notes": list(self.notes)}
        write_json_atomic(folder / "scores.json", rebuilt(scores, lambda v: None if v != v else v))  # JSON has no NaN


def score_detector(
    predictor: DetectionPredictor,
    data: str | Path,
    split: str | None = None,
    *,
    max_dets: int,
    val_split: str | None,
    out: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **layout: Any,
) -> DetectionTable:
    """Score a detector on the images of a split; every image goes the way of ``densekit predict``.

    Writes ``scores.csv``, ``scores.json``, ``detections.json`` (COCO results) and ``report.html``.

    Args:
        predictor: A detector with the classes of the data set, of a checkpoint. The transforms are its own.
        data: Data set.
        split: Default: ``val_split``.
        max_dets, val_split, **layout: The keys of :mod:`densekit.tasks.detection.settings` that a test reads.
        out: Folder; default see :func:`densekit.io.staging.score_folder`.
        progress: Called with (file, images done, total).

    Raises:
        CheckpointError: if the checkpoint cannot be used, or has other classes.
        DataError: if there is no such split.
        OutputError: if the folder cannot be written.
    """
    data = read_data({"data_root": data, "val_split": val_split, **layout})
    split, checkpoint = split or val_split, predictor.checkpoint
    check_fit(checkpoint, data, split)
    folder = score_folder(out, checkpoint.path, split)  # before the long work
    truth = _in_its_classes(checkpoint, read_truth(data.annotations[split], masks=predictor.masks))
    notes = known_images(checkpoint, truth.images.files, data.root, split)
    for line in notes:
        logger.warning(line)
    detections, failures = _detect(predictor, truth, data.root, progress)
    write_detections(folder / DETECTIONS, detections)
    kinds = ("bbox", "segm") if predictor.masks else ("bbox",)
    scores = {kind: evaluate(truth, detections, iou_type=kind, max_dets=max_dets) for kind in kinds}
    table = DetectionTable(scores, failures, [*notes, *_notes(predictor.most, detections)])
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
            *((FAILED, once(file, reason)) for file, reason in failures.items()),
            *(("note", note) for note in table.notes),
        ],
        max_dets=max_dets,
    )
    logger.info("scores.csv, scores.json, %s and report.html are in %s", DETECTIONS, folder)
    return table


def _notes(most: int | None, found: Detections) -> tuple[str, ...]:
    """Say in how many images the network gave as many detections as it gives at most."""
    full = 0 if most is None else int((np.bincount(found.image_index) >= most).sum())
    if not full:
        return ()
    words = f"the network gives {most} detections of an image at most (max_per_img of its test_cfg)"
    return (f"{words}, and gave as many in {full} of {len(found.images)} images: weaker ones are not scored there",)


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


def _in_its_classes(checkpoint: Checkpoint, truth: Detections) -> Detections:
    """Return the objects with the labels of a checkpoint; a class that the data do not have gets a number too."""
    labels, matched = list(checkpoint.labels), by_name(checkpoint.labels, truth.names)
    ids = {matched[name]: number for name, number in zip(truth.names, truth.category_ids, strict=True)}
    new = count(max(truth.category_ids) + 1)
    place = np.array([labels.index(matched[name]) for name in truth.names], dtype=np.int64)
    numbers = tuple(ids[name] if name in ids else next(new) for name in labels)
    return replace(truth, labels=place[truth.labels], names=tuple(labels), category_ids=numbers)
