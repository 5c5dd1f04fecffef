"""The report of a detector on annotated images: scores, what costs most, confusions, and the worst images."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from densekit.evaluation.detection import Comparison, DetectionScores, WorstImage
from densekit.evaluation.detection.average_precision import MAX_DETS, SIZES
from densekit.evaluation.detection.confusion import Confusion, chosen_threshold, confuse
from densekit.evaluation.detection.curves import PRCurve
from densekit.evaluation.detection.curves import curves as pr_curves_of
from densekit.evaluation.detection.error_split import KINDS, TITLES, Errors, ErrorSplit, classify, split
from densekit.evaluation.detection.worst import rank
from densekit.structures.detections import Detections
from densekit.visualization.detection.figures import draw_curves, draw_pair
from densekit.visualization.shared.confusion import draw_confusion
from densekit.visualization.shared.page import write_page
from densekit.visualization.shared.palette import css_color
from densekit.visualization.shared.thumbnails import data_uri, open_upright

logger = logging.getLogger("densekit")

_SMALL, _LARGE = 32**2, 96**2  # pixels, COCO's limits
_NAMES = {"segm": "Masks", "bbox": "Boxes"}
_MEANING = {
    "classification": "an object of another class is there (IoU from 0.5), itself found or not",
    "localisation": "the right object, but the overlap is only 0.1 to 0.5",
    "both": "an object of another class is near (IoU 0.1 to 0.5)",
    "duplicate": "a better detection has the object already",
    "background": "no object is there (IoU below 0.1)",
    "missed": "an object that no detection is about",
}
_LOSES = {
    "classification": "objects that are taken for another class",
    "localisation": "detections that lie badly on their object",
    "both": "detections of the wrong class that also lie badly",
    "duplicate": "objects that are found more than once",
    "background": "detections where there is nothing",
    "missed": "objects that nothing finds",
}
_CLASS_COLUMNS = (
    "Objects",
    "AP",
    "AP50",
    "AP75",
    "AP small",
    "AP medium",
    "AP large",
    "Best score",
    "Precision",
    "Recall",
)


def write_detection_report(
    path: str | os.PathLike,
    *,
    truth: Detections,
    detections: Detections,
    scores: Mapping[str, DetectionScores],
    root: str | os.PathLike,
    title: str,
    curves: str | os.PathLike | None = None,
    facts: Sequence[tuple[str, str]] = (),
    threshold: float | None = None,
    worst: int = 24,
    max_dets: int = MAX_DETS,
) -> None:
    """Write how well a detector does, and where it fails, as one self-contained HTML page.

    If masks were scored, all but the scores of the boxes is about them.

    Args:
        path: The HTML file to write.
        truth: The objects, as :func:`~densekit.evaluation.detection.read_truth` returns them.
        detections: What was found in the same images.
        scores: What they score, by IoU type, ``"bbox"`` and, shown first, ``"segm"``; as
            :func:`~densekit.evaluation.detection.score_all` returns it.
        root: Folder that the images' files are relative to.
        title: Heading.
        curves: Picture of the training's curves, embedded at the end; None for none.
        facts: Further rows for the table of what was scored, name and value.
        threshold: Score from which detections count in the confusion matrix and the pictures. None: that with the best
            F1 over all classes.
        worst: How many of the worst images to show.
        max_dets: So many detections of each class and image count, the best ones.

    Raises:
        DataError: if truth and detections are not of the same images.
        OutputError: if the file cannot be written.
    """
    kind = next(kind for kind in _NAMES if kind in scores)
    comparison = Comparison(truth, detections, iou_type=kind, max_dets=max_dets)
    threshold = chosen_threshold(comparison, threshold)
    errors = classify(comparison)
    losses = split(comparison, errors)
    drawn = pr_curves_of(comparison)
    confusion = confuse(comparison, threshold)
    worst_images = rank(comparison, worst, threshold, errors)
    confusion_picture, confusion_drawn = draw_confusion(confusion.names, confusion.counts, background=True)
    write_page(
        path,
        "detection_scores",
        title=title,
        lead=_lead(scores[kind], losses, comparison),
        facts=_facts(comparison, threshold, max_dets, facts),
        scores=[_score_row(name, scores[kind]) for kind, name in _NAMES.items() if kind in scores],
        sizes=_sizes(truth),
        objects=f"{int(truth.to_find().sum()):,}",
        scores_note="Small: less than 32 × 32 pixels of area, large: more than 96 × 96. –: no object of that size.",
        threshold=f"{threshold:.2f}",
        errors=_error_rows(comparison, errors, losses, threshold),
        class_columns=_CLASS_COLUMNS,
        classes=_class_rows(scores[kind], drawn[0.5]),
        curves=data_uri(draw_curves(drawn)),
        confusion=data_uri(confusion_picture),
        confusion_lead=_confusion_lead(confusion),
        confusion_note=_confusion_note(confusion, confusion_drawn),
        confusion_pairs=[
            {"is": one, "as": other, "count": f"{count:,}", "share": f"{100 * share:.0f} %"}
            for one, other, count, share in confusion.pairs()
        ],
        worst_title=_worst_title(worst_images, worst),
        worst_lead=_worst_lead(worst_images, threshold),
        worst=[_worst_view(comparison, image, Path(root), threshold) for image in worst_images],
        training=_embedded(curves),
    )


def _lead(scores: DetectionScores, losses: ErrorSplit, comparison: Comparison) -> str:
    """Say in two sentences how good it is and what limits it most."""
    truth = comparison.truth
    what = "Mask AP" if comparison.iou_type == "segm" else "AP"
    objects, classes = int(truth.to_find().sum()), int((truth.to_find() > 0).sum())
    text = (
        f"{what} {_number(scores.AP)}, AP50 {_number(scores.AP50)} on {_times(len(truth.images), 'image')} "
        f"with {_times(objects, 'object')} of {_times(classes, 'class')}. "
    )
    if not objects:
        return text + "There is nothing to find, so nothing can be scored."
    if not len(comparison.detections):
        return text + "Nothing was detected."
    if losses.worst is None:
        return text + "No kind of error costs any AP50."
    gain = losses.dAP[losses.worst]
    return (
        f"{text}It loses most through {_LOSES[losses.worst]}: without these AP50 would be "
        f"{losses.AP50 + gain:.3f} ({gain:+.3f})."
    )


def _facts(
    comparison: Comparison, threshold: float, max_dets: int, further: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    truth, found = comparison.truth, comparison.detections
    crowds = int(truth.crowd.sum())
    empty = len(truth.images) - len(np.unique(truth.image_index))
    words = f"{int(truth.to_find().sum()):,}" + (f", and {crowds:,} crowds, which do not count" if crowds else "")
    counted = int((found.scores >= threshold).sum())
    detections = f"{len(found):,}, {counted:,} of them from score {threshold:.2f} on" if len(found) else "none"
    return [
        *((str(name), str(value)) for name, value in further),
        ("annotations", truth.where),
        ("images", f"{len(truth.images):,}, {empty:,} of them without objects"),
        ("objects", words),
        ("detections", detections),
        ("counted", f"the {max_dets} best of each class and image" + (", COCO's rule" if max_dets == MAX_DETS else "")),
        ("compared by", "masks" if comparison.iou_type == "segm" else "boxes"),
    ]


def _score_row(name: str, scores: DetectionScores) -> dict[str, Any]:
    keys = ("AP", "AP50", "AP75", *(f"AP_{size}" for size in SIZES))
    return {"name": name, "cells": [_number(getattr(scores, key)) for key in keys]}


def _sizes(truth: Detections) -> list[dict[str, str]]:
    """Return the ranges of size with their objects. One on a limit is in both ranges, as for COCO's AP."""
    area = truth.areas[~truth.crowd]
    inside = (area <= _SMALL, (area >= _SMALL) & (area <= _LARGE), area >= _LARGE)
    return [{"name": name, "objects": f"{int(rows.sum()):,}"} for name, rows in zip(SIZES, inside, strict=True)]


def _error_rows(comparison: Comparison, errors: Errors, losses: ErrorSplit, threshold: float) -> list[dict[str, str]]:
    above = comparison.detections.scores >= threshold
    shown = errors.above(above, comparison.truth.crowd).counts()
    gains = {kind: float(np.nan_to_num(losses.dAP[kind])) for kind in KINDS}
    largest = max(max(gains.values()), 1e-9)
    return [
        {
            "title": TITLES[kind].capitalize(),
            "meaning": _MEANING[kind],
            "shown": f"{shown[kind]:,}",
            "all": f"{losses.counts[kind]:,}",
            "gain": f"{gains[kind]:+.3f}",
            "part": f"{100 * max(gains[kind], 0) / largest:.1f}%",
        }
        for kind in sorted(KINDS, key=lambda kind: -gains[kind])
    ]


def _class_rows(scores: DetectionScores, drawn: Mapping[str, PRCurve]) -> list[dict[str, Any]]:
    rows = []
    for label, (name, row) in enumerate(scores.per_class.items()):
        curve = drawn[name]
        reached = math.isfinite(curve.threshold)
        values = [row["AP"], row["AP50"], row["AP75"], *(row[f"AP_{size}"] for size in SIZES)]
        cells = [_cell(row["objects"], f"{row['objects']:,}"), *(_cell(v, _number(v)) for v in values)]
        best = (curve.threshold, curve.best_precision, curve.best_recall)
        cells += [_cell(value if reached else math.nan, f"{value:.2f}" if reached else "–") for value in best]
        if math.isfinite(row["AP"]):
            cells[1]["part"] = f"{100 * row['AP']:.1f}%"
        rows.append({"name": name, "color": css_color(label + 1), "cells": cells, "AP": row["AP"]})
    return sorted(rows, key=lambda row: (math.isnan(row["AP"]), row["AP"]))


def _cell(value: float, text: str) -> dict[str, Any]:
    return {"value": None if math.isnan(value) else round(value, 6), "text": text, "part": None}


def _confusion_lead(confusion: Confusion) -> str:
    counts = confusion.counts
    found, objects = int(np.trace(counts[:-1, :-1])), int(counts[:-1].sum())
    between = int(counts[:-1, :-1].sum()) - found
    return (
        f"Of {_times(objects, 'object')} {found:,} are found, {between:,} not, but taken for another class, and "
        f"{int(counts[:-1, -1].sum()):,} neither; {_times(int(counts[-1].sum()), 'detection')} more where nothing is "
        f"or another has it already (from score {confusion.threshold:.2f} on, IoU from 0.5). An object and a detection "
        f"count once here: a wrong class over an object that is found as well is one of the detections more."
    )


def _confusion_note(confusion: Confusion, drawn: int) -> str:
    occur = int((confusion.counts.sum(axis=0) + confusion.counts.sum(axis=1) > 0)[:-1].sum())
    absent = len(confusion.names) - 1 - occur
    part = f" {drawn} of {occur} classes are drawn, those with most mistakes between classes." if drawn < occur else ""
    part += f" {_times(absent, 'class')} without objects and detections left out." if absent else ""
    return (
        "Row: what it is; column: what it was taken for; the colour is the share of the row. Last column: not found; "
        f"last row: detections where there is nothing, or what is found already.{part}"
    )


def _worst_title(images: Sequence[WorstImage], asked: int) -> str:
    if len(images) == asked:
        return f"The {len(images)} worst images"
    return "The worst images" if images else "No image has an error"


def _worst_lead(images: Sequence[WorstImage], threshold: float) -> str:
    if not images:
        return f"Every object is found, and nothing else, from score {threshold:.2f} on."
    return (
        f"Ranked by the objects that were not found plus the scores of the false detections, from score "
        f"{threshold:.2f} on. Left what is there, right what was found; a red disc marks what is not found, or wrong."
    )


def _worst_view(comparison: Comparison, image: WorstImage, root: Path, threshold: float) -> dict[str, Any]:
    objects, found = len(image.objects), len(image.detections)
    name = image.file.rpartition("/")[2]
    return {
        "file": name if len(name) <= 48 else f"{name[:24]}…{name[-22:]}",
        "picture": _pair(comparison, image, root, threshold),
        "found": f"{image.unfound.sum():,} of {_times(objects, 'object')} not found, {image.false.sum():,} of "
        f"{_times(found, 'detection')} wrong",
        "wrong": image.wrong,
    }


def _pair(comparison: Comparison, worst: WorstImage, root: Path, threshold: float) -> str | None:
    """Return what is there and what was found, beside each other; None if the image cannot be read."""
    image = open_upright(str(root / worst.file))
    if image is None:
        logger.warning("%s: cannot be read, left out of the report", root / worst.file)
        return None
    return data_uri(draw_pair(image, comparison, worst, threshold))


def _embedded(picture: str | os.PathLike | None) -> str | None:
    if picture is None:
        return None
    image = open_upright(str(picture))
    if image is None:
        logger.warning("%s: cannot be read, left out of the report", picture)
    return None if image is None else data_uri(image)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _times(count: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count:,} {what if count == 1 else plural}"
