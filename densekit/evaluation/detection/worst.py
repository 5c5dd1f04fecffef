"""The images in which most goes wrong, and what."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from densekit.errors import ConfigError
from densekit.evaluation.detection.average_precision import MAX_DETS
from densekit.evaluation.detection.comparison import Comparison
from densekit.evaluation.detection.confusion import chosen_threshold
from densekit.evaluation.detection.error_split import KINDS, TITLES, Errors, classify
from densekit.evaluation.detection.sources import DetectionSource, TruthSource

_NAMED = 3  # errors of one kind that are named one by one


@dataclass(frozen=True)
class WorstImage:
    """An image with its errors at one score threshold.

    Attributes:
        image_id: Its id in the annotation file.
        file: Its ``file_name`` there.
        cost: Objects not found, plus the scores of the false detections.
        wrong: What is wrong in words, a line per kind of error.
        objects: Places of the image's objects in the comparison's truth ``(M,)``.
        unfound: Whether nothing found them; never so for crowds ``(M,)``.
        detections: Places of its detections that count, in the comparison's detections ``(N,)``.
        false: Whether they are wrong ``(N,)``.
    """

    image_id: object
    file: str
    cost: float
    wrong: tuple[str, ...]
    objects: np.ndarray
    unfound: np.ndarray
    detections: np.ndarray
    false: np.ndarray


def worst_images(
    truth: TruthSource,
    detections: DetectionSource,
    *,
    number: int = 24,
    threshold: float | None = None,
    iou_type: str = "bbox",
    max_dets: int = MAX_DETS,
) -> list[WorstImage]:
    """Rank images by their errors: one for each object that was not found, its score for each false detection.

    Args:
        truth, detections, iou_type, max_dets: As for :func:`~densekit.evaluation.detection.evaluate`.
        number: How many images to return; fewer if fewer have errors.
        threshold: Detections with a lower score are left out. None: that with the best F1 over all classes.

    Raises:
        DataError, ConfigError: as :func:`~densekit.evaluation.detection.evaluate`.
    """
    return rank(Comparison(truth, detections, iou_type=iou_type, max_dets=max_dets), number, threshold)


def rank(
    comparison: Comparison, number: int = 24, threshold: float | None = None, errors: Errors | None = None
) -> list[WorstImage]:
    """The same, of a comparison, and its errors, that are there already; places in a result are those in it."""
    if number < 1:
        raise ConfigError(f"number={number}: expected how many images to return, 1 or more")
    threshold = chosen_threshold(comparison, threshold)
    truth, found = comparison.truth, comparison.detections
    counted = found.scores >= threshold
    errors = (classify(comparison) if errors is None else errors).above(counted, truth.crowd)
    false = errors.kind >= 0
    cost = np.bincount(truth.image_index[errors.unfound], minlength=len(truth.images)).astype(np.float64)
    cost += np.bincount(found.image_index[false], weights=found.scores[false], minlength=len(cost))
    worst = [int(place) for place in np.argsort(-cost, kind="stable")[:number] if cost[place] > 0]
    images = []
    for place in worst:
        objects = np.flatnonzero(truth.image_index == place)
        shown = np.flatnonzero((found.image_index == place) & counted)
        images.append(
            WorstImage(
                image_id=truth.images.ids[place],
                file=truth.images.files[place],
                cost=float(cost[place]),
                wrong=tuple(_words(comparison, errors, objects, shown)),
                objects=objects,
                unfound=errors.unfound[objects],
                detections=shown,
                false=false[shown],
            )
        )
    return images


def _words(comparison: Comparison, errors: Errors, objects: np.ndarray, shown: np.ndarray) -> list[str]:
    """Say what is wrong in one image, the kinds with most errors first."""
    truth, found = comparison.truth, comparison.detections
    lines: list[tuple[int, str]] = []
    missed = Counter(truth.names[truth.labels[place]] for place in objects[errors.missed[objects]])
    if missed:
        lines.append((missed.total(), f"{TITLES['missed']}: {_counted(missed)}"))
    for number, kind in enumerate(KINDS):
        rows = shown[errors.kind[shown] == number]
        if not len(rows):
            continue
        rows = rows[np.argsort(-found.scores[rows], kind="stable")]
        if len(rows) <= _NAMED:
            text = ", ".join(_one(comparison, kind, row, int(errors.about[row])) for row in rows)
        else:
            text = _counted(Counter(_plain(comparison, kind, row, int(errors.about[row])) for row in rows))
        lines.append((len(rows), f"{TITLES[kind]}: {text}"))
    return [text for _, text in sorted(lines, key=lambda line: -line[0])]


def _plain(comparison: Comparison, kind: str, row: int, about: int) -> str:
    name = comparison.truth.names[comparison.detections.labels[row]]
    if kind == "classification":
        return f"{comparison.truth.names[comparison.truth.labels[about]]} taken for {name}"
    return name


def _one(comparison: Comparison, kind: str, row: int, about: int) -> str:
    text = f"{_plain(comparison, kind, row, about)} {comparison.detections.scores[row]:.2f}"
    if kind == "localisation":
        overlaps = comparison.overlaps
        pair = (overlaps.detection == row) & (overlaps.object == about)
        text += f" (IoU {math.floor(100 * overlaps.iou[pair][0]) / 100:.2f})"  # never 0.50: that would be right
    return text


def _counted(names: Counter) -> str:
    shown = [f"{count} {name}" if count > 1 else name for name, count in names.most_common(6)]
    rest = sum(count for _, count in names.most_common()[6:])
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
