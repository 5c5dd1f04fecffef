"""Precision against recall of each class, and the score threshold that balances them best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from densekit.errors import ConfigError
from densekit.evaluation.detection.average_precision import MAX_DETS
from densekit.evaluation.detection.comparison import Comparison, average_precision, interpolated, precision_recall
from densekit.evaluation.detection.sources import DetectionSource, TruthSource


@dataclass(frozen=True)
class PRCurve:
    """Precision and recall of one class as the score threshold falls.

    Attributes:
        objects: How many there are to find.
        AP: COCO's AP at this IoU; NaN without objects.
        recall, precision: Of the best 1, 2, ... detections ``(N,)``, as they are.
        score: Scores of these detections, falling ``(N,)``.
        interpolated: Best precision from each of 101 recalls (0, 0.01, ... 1) on ``(101,)``; AP is its mean.
        threshold: Score from which detections are taken for the best F1; NaN if no detection is right.
        F1, best_precision, best_recall: What is reached there.
    """

    objects: int
    AP: float
    recall: np.ndarray
    precision: np.ndarray
    score: np.ndarray
    interpolated: np.ndarray
    threshold: float
    F1: float
    best_precision: float
    best_recall: float

    @classmethod
    def of(cls, score: np.ndarray, hit: np.ndarray, objects: int) -> PRCurve:
        """Draw the curve of detections with their scores ``(N,)`` and whether each found an object ``(N,)``."""
        order = np.argsort(-score, kind="stable")
        recall, precision = precision_recall(score, hit, objects)
        threshold, best = best_threshold(score, hit, objects)
        return cls(
            objects=objects,
            AP=average_precision(score, hit, objects),
            recall=recall,
            precision=precision,
            score=score[order],
            interpolated=interpolated(recall, precision),
            threshold=threshold,
            F1=best[0],
            best_precision=best[1],
            best_recall=best[2],
        )


def pr_curves(
    truth: TruthSource,
    detections: DetectionSource,
    *,
    ious: Sequence[float] = (0.5, 0.75),
    iou_type: str = "bbox",
    max_dets: int = MAX_DETS,
) -> dict[float, dict[str, PRCurve]]:
    """Draw precision against recall for each class.

    Args:
        truth, detections, iou_type, max_dets: As for :func:`~densekit.evaluation.detection.evaluate`.
        ious: Least overlaps with which a detection is right, each from 0.1 up to 1.

    Returns:
        IoU -> class name -> curve.

    Raises:
        DataError, ConfigError: as :func:`~densekit.evaluation.detection.evaluate`.
    """
    return curves(Comparison(truth, detections, iou_type=iou_type, max_dets=max_dets), ious)


def curves(comparison: Comparison, ious: Sequence[float] = (0.5, 0.75)) -> dict[float, dict[str, PRCurve]]:
    """The same, of a comparison that is there already."""
    for iou in ious:
        if not 0.1 <= iou <= 1:
            raise ConfigError(f"ious={tuple(ious)}: {iou} is not an overlap that can be asked for, expected 0.1 to 1")
    objects = comparison.truth.to_find()
    found = comparison.detections
    drawn: dict[float, dict[str, PRCurve]] = {}
    for iou in ious:
        hit = comparison.match(iou)
        drawn[iou] = {}
        for label, name in enumerate(comparison.truth.names):
            rows = (found.labels == label) & (hit != -2)
            drawn[iou][name] = PRCurve.of(found.scores[rows], hit[rows] >= 0, int(objects[label]))
    return drawn


def best_threshold(score: np.ndarray, hit: np.ndarray, objects: int) -> tuple[float, tuple[float, float, float]]:
    """Return the score from which detections are taken for the best F1, and F1, precision and recall there.

    Detections of one score are taken together. Of equally good thresholds the highest; NaN if nothing is right. The
    arguments are those of :func:`~densekit.evaluation.detection.comparison.average_precision`.
    """
    if not objects or not hit.any():
        return float("nan"), (0.0, 0.0, 0.0)
    order = np.argsort(-score, kind="stable")
    ordered, hits = score[order], hit[order].cumsum()
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of each score
    F1 = 2 * hits[last] / (last + 1 + objects)
    best = int(np.argmax(F1))
    taken = last[best]
    return float(ordered[taken]), (float(F1[best]), float(hits[taken] / (taken + 1)), float(hits[taken] / objects))


def overall_threshold(comparison: Comparison) -> float:
    """Return the one score threshold with the best F1 over all classes taken together, at IoU 0.5; NaN if none."""
    hit = comparison.match()
    counting = hit != -2
    objects = int(comparison.truth.to_find().sum())
    return best_threshold(comparison.detections.scores[counting], hit[counting] >= 0, objects)[0]
