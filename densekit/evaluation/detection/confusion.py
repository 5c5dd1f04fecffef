"""Which class is taken for which, at one score threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densekit.evaluation.detection.average_precision import MAX_DETS
from densekit.evaluation.detection.comparison import MATCHED, Comparison, assign
from densekit.evaluation.detection.curves import overall_threshold
from densekit.evaluation.detection.sources import DetectionSource, TruthSource

BACKGROUND = "background"


@dataclass(frozen=True)
class Confusion:
    """Objects by what they were taken for.

    Attributes:
        names: Class names, and ``"background"`` last.
        counts: ``(classes + 1, classes + 1)`` of int: row = what it is, column = what it was taken for. The last column
            counts objects that were not found, the last row detections where there is nothing (or only what another
            detection has already).
        threshold: Score from which detections count.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    threshold: float

    def shares(self) -> np.ndarray:
        """Return each row as shares of its sum, NaN for an empty row."""
        total = self.counts.sum(axis=1, keepdims=True)
        return np.where(total > 0, self.counts / np.maximum(total, 1), np.nan)

    def pairs(self, number: int = 15) -> list[tuple[str, str, int, float]]:
        """Return the most frequent mistakes between two classes: what it is, what it was taken for, count, share."""
        between = self.counts[:-1, :-1].copy()
        np.fill_diagonal(between, 0)
        shares = self.shares()
        order = np.argsort(-between, axis=None, kind="stable")[:number]
        rows, columns = np.unravel_index(order, between.shape)
        return [
            (self.names[r], self.names[c], int(between[r, c]), float(shares[r, c]))
            for r, c in zip(rows, columns, strict=True)
            if between[r, c]
        ]


def confusion_matrix(
    truth: TruthSource,
    detections: DetectionSource,
    *,
    threshold: float | None = None,
    iou_type: str = "bbox",
    max_dets: int = MAX_DETS,
) -> Confusion:
    """Count which class was taken for which, at IoU 0.5.

    First the objects go to detections of their class as in COCO's AP, so the diagonal holds the hits; what is left on
    both sides is then put together across classes. In both rounds the best detection chooses first. Crowds, and
    detections on a crowd of their class, do not count.

    Args:
        truth, detections, iou_type, max_dets: As for :func:`~densekit.evaluation.detection.evaluate`.
        threshold: Detections with a lower score are left out. None: that with the best F1 over all classes.

    Raises:
        DataError, ConfigError: as :func:`~densekit.evaluation.detection.evaluate`.
    """
    return confuse(Comparison(truth, detections, iou_type=iou_type, max_dets=max_dets), threshold)


def confuse(comparison: Comparison, threshold: float | None = None) -> Confusion:
    """The same, of a comparison that is there already."""
    threshold = chosen_threshold(comparison, threshold)
    truth, found, overlaps = comparison.truth, comparison.detections, comparison.overlaps
    counted = found.scores >= threshold
    hit = np.where(counted, comparison.match(), -2)  # the best choose first: leaving others out changes no match
    taken = np.zeros(len(truth), dtype=bool)
    taken[hit[hit >= 0]] = True
    free = (hit[overlaps.detection] == -1) & ~taken[overlaps.object] & ~truth.crowd[overlaps.object]
    across = assign(overlaps.take(free & (overlaps.iou >= MATCHED)), truth.crowd, len(found))
    hit = np.where(across >= 0, across, hit)
    taken[hit[hit >= 0]] = True
    background = len(truth.names)
    counts = np.zeros((background + 1, background + 1), dtype=np.int64)
    matched = hit >= 0
    np.add.at(counts, (truth.labels[hit[matched]], found.labels[matched]), 1)
    np.add.at(counts, (background, found.labels[hit == -1]), 1)
    np.add.at(counts, (truth.labels[~taken & ~truth.crowd], background), 1)
    return Confusion((*truth.names, BACKGROUND), counts, threshold)


def chosen_threshold(comparison: Comparison, threshold: float | None) -> float:
    """Return the threshold given, or that with the best F1 over all classes; 0 if no detection is right."""
    return float(np.nan_to_num(overall_threshold(comparison))) if threshold is None else float(threshold)
