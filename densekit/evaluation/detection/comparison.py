"""Which detection overlaps with which object, and which it is matched to under COCO's rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter

import numpy as np

from densekit.evaluation.detection.average_precision import MAX_DETS, read_both
from densekit.evaluation.detection.sources import DetectionSource, TruthSource
from densekit.structures.boxes import iou as box_iou
from densekit.structures.detections import Detections

MATCHED = 0.5
"""IoU from which a detection counts as one of the object (TIDE's t_f, COCO's AP50)."""
TOUCHING = 0.1
"""IoU from which a detection is about the object at all (TIDE's t_b)."""
_HIGHEST = 1 - 1e-10  # COCO takes an IoU of 1 up to rounding for 1
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Overlaps:
    """Pairs of a detection and an object of the same image that overlap by at least ``TOUCHING``.

    In the order of the detections of a :class:`Comparison`, those of one detection in the order of the objects.

    Attributes:
        detection, object: Places ``(pairs,)``.
        iou: Intersection over union; over the detection's area where the object is a crowd ``(pairs,)``.
    """

    detection: np.ndarray
    object: np.ndarray
    iou: np.ndarray

    def take(self, chosen: np.ndarray) -> Overlaps:
        """Return the pairs where ``chosen`` ``(pairs,)`` is true."""
        return Overlaps(self.detection[chosen], self.object[chosen], self.iou[chosen])


class Comparison:
    """Truth and detections side by side.

    Attributes:
        truth: The objects.
        detections: The ``max_dets`` best of each class in each image, image by image, the best first.
        iou_type: ``"bbox"`` or ``"segm"``.

    Args:
        truth, detections, iou_type, max_dets: As for :func:`~densekit.evaluation.detection.evaluate`.

    Raises:
        DataError, ConfigError: as :func:`~densekit.evaluation.detection.evaluate`.
    """

    def __init__(
        self, truth: TruthSource, detections: DetectionSource, *, iou_type: str = "bbox", max_dets: int = MAX_DETS
    ) -> None:
        self.truth, found = read_both(truth, detections, iou_type, max_dets)
        self.iou_type = iou_type
        self.detections = _best(found, max_dets)
        self._matches: dict[float, np.ndarray] = {}

    @cached_property
    def overlaps(self) -> Overlaps:
        """All overlaps that matter."""
        parts = list(self._overlaps_by_image())
        if not parts:
            return Overlaps(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        return Overlaps(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _overlaps_by_image(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        found, objects = self.detections.bounds(), self.truth.bounds()
        for place in np.flatnonzero((np.diff(found) > 0) & (np.diff(objects) > 0)):
            d = slice(found[place], found[place + 1])
            g = slice(objects[place], objects[place + 1])
            crowd = self.truth.crowd[g]
            if self.iou_type == "bbox":
                iou = box_iou(self.detections.xywh[d, None], self.truth.xywh[g], crowd)
            else:
                iou = self._mask_iou(place, d, g, crowd)
            detection, object_ = np.nonzero(iou >= TOUCHING)
            yield detection + d.start, object_ + g.start, iou[detection, object_]

    def _mask_iou(self, place: int, d: slice, g: slice, crowd: np.ndarray) -> np.ndarray:
        from hotcoco import mask as library

        width, height = (int(side) for side in self.truth.images.sizes[place])
        outlines = [
            library.merge(library.frPyObjects(o, height, width)) if isinstance(o, list) else o
            for o in self.truth.masks[g]
        ]
        return np.asarray(library.iou(self.detections.masks[d], outlines, crowd.astype(np.uint8)))

    def same_class(self) -> np.ndarray:
        """Return which of the overlaps are between a detection and an object of the same class ``(pairs,)``."""
        return self.detections.labels[self.overlaps.detection] == self.truth.labels[self.overlaps.object]

    def match(self, threshold: float = MATCHED) -> np.ndarray:
        """Give each object to the best detection of its class that overlaps with it, as COCO does.

        From the highest score down, a detection takes the object that is still free and overlaps most; of equal ones
        the last. One that finds only a crowd is left out of the count, and a crowd may be found any number of times.

        Args:
            threshold: Least IoU.

        Returns:
            Place of the object for each detection ``(N,)``: -1 for none (a false positive), -2 for a crowd.
        """
        if threshold not in self._matches:
            chosen = self.overlaps.take(self.same_class() & (self.overlaps.iou >= min(threshold, _HIGHEST)))
            self._matches[threshold] = assign(chosen, self.truth.crowd, len(self.detections))
        return self._matches[threshold].copy()


def assign(overlaps: Overlaps, crowd: np.ndarray, count: int) -> np.ndarray:
    """Give each detection, in their order, the free object it overlaps with most.

    Args:
        overlaps: The pairs that may be made.
        crowd: Whether each object is a crowd ``(objects,)``.
        count: How many detections there are.

    Returns:
        Place of the object for each detection ``(count,)``: -1 for none, -2 for a crowd.
    """
    found = np.full(count, -1, dtype=np.int64)
    taken: set[int] = set()
    rows = zip(overlaps.detection.tolist(), overlaps.object.tolist(), overlaps.iou.tolist(), strict=True)
    for detection, candidates in groupby(rows, key=itemgetter(0)):
        best, best_iou = -1, -1.0
        for _, object_, iou in candidates:
            if crowd[object_]:
                best = -2 if best == -1 else best
            elif object_ not in taken and iou >= best_iou:
                best, best_iou = object_, iou
        found[detection] = best
        taken.add(best)
    return found


def average_precision(score: np.ndarray, hit: np.ndarray, objects: float) -> float:
    """Return COCO's AP of one class at one IoU: mean precision at 101 recalls, each the best from that recall on.

    Args:
        score: Scores of the detections that count ``(N,)``.
        hit: Whether each found an object ``(N,)``.
        objects: How many there are to find.

    Returns:
        0 to 1; NaN if there is nothing to find.
    """
    return float(np.mean(interpolated(*precision_recall(score, hit, objects)))) if objects else float("nan")


def precision_recall(score: np.ndarray, hit: np.ndarray, objects: float) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision of the best 1, 2, ... detections of a class, each ``(N,)``."""
    hits = hit[np.argsort(-score, kind="stable")].cumsum()
    return hits / max(objects, 1), hits / (np.arange(len(hits)) + 1)


def interpolated(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return the best precision from each of 101 recalls (0, 0.01, ... 1) on ``(101,)``, 0 where it is not reached."""
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return envelope[np.searchsorted(recall, RECALLS, side="left")]


def _best(found: Detections, max_dets: int) -> Detections:
    """Return the best detections of each class in each image, image by image, the best first."""
    order = np.lexsort((-found.scores, found.labels, found.image_index))
    image, label = found.image_index[order], found.labels[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (image[1:] != image[:-1]) | (label[1:] != label[:-1])
    starts = np.flatnonzero(new)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    kept = np.sort(order[rank < max_dets])
    chosen = found.take(kept)
    return chosen.take(np.lexsort((-chosen.scores, chosen.image_index)))
