"""``densekit test`` for segmentors: mIoU and what is behind it on a split, every image predicted as for a user."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from densekit.config_tree import rebuilt
from densekit.datasets.segmentation import PreparedSegmentation
from densekit.errors import DataError
from densekit.evaluation.segmentation import SegmentationCounts, SegmentationMetric, SegmentationScores, score_all
from densekit.inference.image_run import ReadAhead
from densekit.inference.images import ImageCase
from densekit.inference.segmentation import SegmentationPredictor
from densekit.io import write_json_atomic, write_text_atomic
from densekit.io.staging import score_folder
from densekit.structures.class_names import by_name
from densekit.structures.label_images import IGNORED
from densekit.tasks.image_score import check_fit, known_images, once
from densekit.tasks.segmentation.data import COUNTS, read_data, write_report

logger = logging.getLogger("densekit")

FAILED = "failed, its pixels are not scored"


@dataclass(frozen=True, repr=False)
class SegmentationTable:
    """The scores of a segmentor on a split.

    Attributes:
        scores: Of all images that could be predicted.
        failures: Images that could not, and why.
        notes: What must be known to read the scores: images that were trained on.
    """

    scores: SegmentationScores
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        return self.render()

    def rows(self) -> list[dict[str, Any]]:
        """One row per class, the mean over the classes first; NaN where there is nothing to score."""
        return self.scores.rows()

    def render(self) -> str:
        """A table for the screen."""
        lines = [f"{FAILED}: {once(file, why)}" for file, why in self.failures.items()]
        return "\n".join([self.scores.render(), *lines, *self.notes])

    def write(self, folder: Path) -> None:
        """Write ``scores.csv`` and ``scores.json``."""
        rows, text = self.rows(), io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in rows)
        write_text_atomic(folder / "scores.csv", text.getvalue())
        scores = {**asdict(self.scores), "confusion": self.scores.confusion.tolist()}
        scores |= {"failures": self.failures, "notes": list(self.notes)}
        write_json_atomic(folder / "scores.json", rebuilt(scores, lambda v: None if v != v else v))  # JSON has no NaN


def score_segmentor(
    predictor: SegmentationPredictor,
    data: str | Path,
    split: str | None = None,
    *,
    val_split: str | None,
    out: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    inference: Mapping[str, Any] | None = None,
    **layout: Any,
) -> SegmentationTable:
    """Score a segmentor on the images of a split; every image goes the way of ``densekit predict``.

    Writes ``scores.csv``, ``scores.json``, ``segmentation.npz`` (pixels counted by image) and ``report.html``.

    Args:
        predictor: A segmentor with the classes of the data set, of a checkpoint. The transforms are its own.
        data: Data set.
        split: Default: ``val_split``.
        val_split, **layout: The keys of :mod:`densekit.tasks.segmentation.settings` that a test reads.
        out: Folder; default see :func:`densekit.io.staging.score_folder`.
        progress: Called with (file, images done, total).
        inference: How images are predicted; None: as the checkpoint says.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or has other classes.
        DataError: if there is no such split.
        OutputError: if the folder cannot be written.
    """
    data = read_data({"data_root": data, "val_split": val_split, **layout})
    split, checkpoint = split or val_split, predictor.checkpoint
    check_fit(checkpoint, data, split)
    if data.channels != predictor.channels:
        raise DataError(
            f"{data.root}: images have {data.channels} channels, the network of {checkpoint.path} takes "
            f"{predictor.channels}; score it on images like the training's"
        )
    if inference is not None:
        predictor.use(inference)
    folder = score_folder(out, checkpoint.path, split)  # before the long work
    notes = known_images(checkpoint, [str(pair.image) for pair in data.splits[split]], data.root, split)
    for line in notes:
        logger.warning(line)
    counts, failures = _count(predictor, data, split, progress)
    counts.write(folder / COUNTS)
    table = SegmentationTable(score_all(counts), failures, notes)
    table.write(folder)
    write_report(
        data,
        split,
        folder,
        counts=folder / COUNTS,
        title=f"{Path(checkpoint.meta.get('config', checkpoint.path)).stem} on {data.name}",
        facts=[
            ("checkpoint", f"{checkpoint.path}, epoch {checkpoint.meta.get('epoch', 'unknown')}"),
            *((FAILED, once(file, reason)) for file, reason in failures.items()),
            *(("note", note) for note in notes),
        ],
    )
    logger.info("scores.csv, scores.json, %s and report.html are in %s", COUNTS, folder)
    return table


def _count(
    predictor: SegmentationPredictor,
    data: PreparedSegmentation,
    split: str,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[SegmentationCounts, dict[str, str]]:
    """Count the pixels of all images of a split; of those that cannot be predicted return the reason, by file."""
    pairs, failures = data.splits[split], {}
    metric, to_own = SegmentationMetric(predictor.labels), _to_classes_of(predictor, data.classes)
    cases = [ImageCase(str(pair.image), (data.root / pair.image,)) for pair in pairs]
    with ReadAhead(predictor, cases) as ahead:
        for place, (case, pair) in enumerate(zip(cases, pairs, strict=True)):
            if progress:
                progress(case.path.name, place, len(cases))
            try:
                image, prepared = ahead.take(case)
                found = predictor.predict_prepared(prepared, image)
            except DataError as error:
                failures[case.id] = str(error)
                continue
            truth = to_own[data.read_labels(pair)]
            sample = {"pred_sem_seg": {"data": found.labels[None]}, "gt_sem_seg": {"data": truth[None]}}
            metric.process(None, [{"img_path": case.id, **sample}])
    metric.compute_metrics(metric.results)
    return metric.last_counts, failures


def _to_classes_of(predictor: SegmentationPredictor, classes: Sequence[str]) -> np.ndarray:
    """The predictor's label of each label of the data set, uint8 ``(256,)``."""
    matched, labels = by_name(predictor.labels, classes), list(predictor.labels)
    table = np.full(256, IGNORED, dtype=np.uint8)
    table[: len(classes)] = [labels.index(matched[name]) for name in classes]
    return table
