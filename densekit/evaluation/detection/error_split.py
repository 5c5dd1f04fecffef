"""What the false detections and the missed objects are, and what each kind costs.

Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors" (ECCV 2020). A false
positive is one of five kinds, looked for in this order, as the authors' program does:

* *localisation*: an object of its class overlaps by 0.1 to 0.5 (and none by more);
* *classification*: an object of another class overlaps by 0.5 or more;
* *duplicate*: an object of its class overlaps by 0.5 or more, but a better detection has it already;
* *background*: no object overlaps by 0.1;
* *both*: what is left, objects of other classes that overlap by 0.1 to 0.5.

The sixth kind, *missed*, are objects that nobody found and that no error of the first two kinds is about. What a kind
costs (dAP) is the gain in AP50 if its errors alone were put right: the first two become hits of their object, or
vanish if the object has a hit already or a better error of the same kind; the next three vanish; missed objects are not
asked for. The gains do not add up: errors hide behind each other. (The authors' program lets localisation and
classification errors compete for an object even where only one kind is put right, which makes their dAP smaller.)

Crowds take no part, other than that detections on one of their class are left out, as in COCO's AP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densekit.evaluation.detection.average_precision import MAX_DETS
from densekit.evaluation.detection.comparison import MATCHED, Comparison, Overlaps, average_precision
from densekit.evaluation.detection.sources import DetectionSource, TruthSource

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
TITLES = {
    "classification": "wrong class",
    "localisation": "badly placed",
    "both": "wrong class and badly placed",
    "duplicate": "found twice",
    "background": "nothing there",
    "missed": "missed",
}
"""The kinds in words, as pictures and reports name them."""


@dataclass(frozen=True)
class ErrorSplit:
    """Errors by kind.

    Attributes:
        AP50: What is reached as things are, 0 to 1; NaN without objects.
        counts: Kind -> number of errors.
        dAP: Kind -> AP50 gained if these alone were put right.
    """

    AP50: float
    counts: dict[str, int]
    dAP: dict[str, float]

    @property
    def worst(self) -> str | None:
        """The kind that costs most; None if none costs anything."""
        kind = max(KINDS, key=lambda kind: np.nan_to_num(self.dAP[kind]))
        return kind if np.nan_to_num(self.dAP[kind]) > 0 else None


@dataclass(frozen=True)
class Errors:
    """What each detection and each object of a comparison is.

    Attributes:
        hit: Object that each detection found ``(N,)``: -1 for none, -2 for a crowd (it does not count).
        kind: Place in ``KINDS`` of each false positive's kind ``(N,)``, -1 for others.
        about: Object that the error is about ``(N,)``: the one badly placed, misnamed or found twice; -1 for none.
        unfound: Whether nobody found the object ``(objects,)``; never so for crowds.
        missed: Those of them that no localisation or classification error is about ``(objects,)``.
    """

    hit: np.ndarray
    kind: np.ndarray
    about: np.ndarray
    unfound: np.ndarray
    missed: np.ndarray

    def above(self, counted: np.ndarray, crowd: np.ndarray) -> Errors:
        """Return what is left if only the best detections count: what the others found is not found then.

        Args:
            counted: Whether each detection counts ``(N,)``; the others must have lower scores.
            crowd: Whether each object is a crowd ``(objects,)``.
        """
        hit = np.where(counted, self.hit, -2)
        kind, about = np.where(counted, self.kind, -1), np.where(counted, self.about, -1)
        return Errors(hit, kind, about, *_not_found(hit, about, crowd))

    def counts(self) -> dict[str, int]:
        """Return kind -> number of errors."""
        found = {kind: int((self.kind == number).sum()) for number, kind in enumerate(KINDS)}
        return {**found, "missed": int(self.missed.sum())}


def error_split(
    truth: TruthSource, detections: DetectionSource, *, iou_type: str = "bbox", max_dets: int = MAX_DETS
) -> ErrorSplit:
    """Count the errors of a detector by kind, and what each kind costs.

    Args:
        truth, detections, iou_type, max_dets: As for :func:`~densekit.evaluation.detection.evaluate`.

    Raises:
        DataError, ConfigError: as :func:`~densekit.evaluation.detection.evaluate`.
    """
    return split(Comparison(truth, detections, iou_type=iou_type, max_dets=max_dets))


def split(comparison: Comparison, errors: Errors | None = None) -> ErrorSplit:
    """The same, of a comparison, and its errors, that are there already."""
    errors = classify(comparison) if errors is None else errors
    truth, found = comparison.truth, comparison.detections
    objects = truth.to_find()
    scored = objects > 0
    counting = errors.hit != -2
    hit = errors.hit >= 0

    def ap(counted: np.ndarray, hits: np.ndarray, label: np.ndarray, wanted: np.ndarray) -> float:
        return _mean_ap(found.scores[counted], hits[counted], label[counted], wanted, scored)

    AP50 = ap(counting, hit, found.labels, objects)
    gains = {}
    for number, kind in enumerate(KINDS):
        wrong = errors.kind == number
        if kind == "missed":
            wanted = objects - np.bincount(truth.labels[errors.missed], minlength=len(objects))
            value = ap(counting, hit, found.labels, wanted)
        elif kind in ("classification", "localisation"):
            saved = _savable(wrong, errors)
            label = np.where(saved, truth.labels[errors.about], found.labels) if len(truth) else found.labels
            value = ap(counting & (~wrong | saved), hit | saved, label, objects)
        else:
            value = ap(counting & ~wrong, hit, found.labels, objects)
        gains[kind] = value - AP50
    return ErrorSplit(AP50, errors.counts(), gains)


def classify(comparison: Comparison) -> Errors:
    """Say of each detection and each object what it is."""
    truth, found = comparison.truth, comparison.detections
    hit = comparison.match(MATCHED)
    overlaps, same = comparison.overlaps, comparison.same_class()
    single = ~truth.crowd[overlaps.object]
    own, own_object = _most(overlaps.take(single & same), len(found))
    other, other_object = _most(overlaps.take(single & ~same), len(found))
    kind = np.full(len(found), KINDS.index("background"))
    about = np.full(len(found), -1)
    # The last line that is true of a detection stands: the order of the module's list, from its end.
    for name, true, object_ in (
        ("both", (other > 0) | (own > 0), np.full(len(found), -1)),
        ("duplicate", own >= MATCHED, own_object),
        ("classification", other >= MATCHED, other_object),
        ("localisation", (own > 0) & (own < MATCHED), own_object),
    ):
        kind[true], about[true] = KINDS.index(name), object_[true]
    kind[hit != -1], about[hit != -1] = -1, -1
    return Errors(hit, kind, about, *_not_found(hit, about, truth.crowd))


def _not_found(hit: np.ndarray, about: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which objects nobody found, and which of these no error is about, each ``(objects,)``."""
    unfound = ~crowd
    unfound[hit[hit >= 0]] = False
    missed = unfound.copy()
    missed[about[about >= 0]] = False
    return unfound, missed


def _most(overlaps: Overlaps, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest overlap of each detection and the object it is with, 0 and -1 where there is none."""
    iou, object_ = np.zeros(count), np.full(count, -1)
    order = np.lexsort((overlaps.iou, overlaps.detection))  # the largest of each detection is written last
    iou[overlaps.detection[order]] = overlaps.iou[order]
    object_[overlaps.detection[order]] = overlaps.object[order]
    return iou, object_


def _savable(wrong: np.ndarray, errors: Errors) -> np.ndarray:
    """Return which of these errors become hits: the best-scored one about each object that nobody found."""
    saved = np.zeros(len(wrong), dtype=bool)
    rows = np.flatnonzero(wrong)
    rows = rows[errors.unfound[errors.about[rows]]]
    _, first = np.unique(errors.about[rows], return_index=True)  # within an image the best detection comes first
    saved[rows[first]] = True
    return saved


def _mean_ap(score: np.ndarray, hit: np.ndarray, label: np.ndarray, objects: np.ndarray, scored: np.ndarray) -> float:
    """Return the mean AP over the classes ``scored``. One of which nothing is asked for any more has AP 1 if it has no
    detections, else 0: each of them is wrong."""
    order = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[order], np.arange(len(objects) + 1))
    values = []
    for place in np.flatnonzero(scored):
        rows = order[bounds[place] : bounds[place + 1]]
        if objects[place]:
            values.append(average_precision(score[rows], hit[rows], objects[place]))
        else:
            values.append(float(len(rows) == 0))
    return float(np.mean(values)) if values else float("nan")
