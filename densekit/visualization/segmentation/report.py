"""The report of a segmentor on annotated images: scores, where the errors lie, confusions, and the worst images."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from densekit.evaluation.segmentation import KINDS, SegmentationCounts, SegmentationScores, score_all
from densekit.evaluation.segmentation.errors import EDGE, FOUND
from densekit.structures.class_names import by_name
from densekit.structures.label_images import IGNORED
from densekit.visualization.segmentation.drawing import class_color, open_image
from densekit.visualization.segmentation.figures import ERROR_COLORS, draw_comparison
from densekit.visualization.shared.confusion import draw_confusion
from densekit.visualization.shared.page import write_page
from densekit.visualization.shared.palette import Color, label_color
from densekit.visualization.shared.thumbnails import data_uri, open_upright

if TYPE_CHECKING:
    from densekit.datasets.segmentation import PreparedSegmentation

logger = logging.getLogger("densekit")

_TITLES = {
    "mIoU": "mIoU",
    "mAcc": "Mean accuracy",
    "aAcc": "Pixels right",
    "mDice": "Mean Dice",
    "boundary_IoU": "Boundary IoU",
}
_MEANING = {
    "mIoU": "mean over the classes: pixels right, over pixels that are of the class or were found as it",
    "mAcc": "mean over the classes: share of its pixels that is right",
    "aAcc": "share of all pixels",
    "mDice": "mean over the classes: Dice, which is F1 of the pixels",
    "boundary_IoU": "mean over the classes: IoU of the boundaries of the masks alone, {width:g} % of the diagonal wide",
}
_LIES = {
    "boundary": f"the class found is there within {100 * EDGE:g} % of the image's diagonal: only the border lies askew",
    "confusion": "another class was taken for it, in an area that was found in part",
    "missed": f"in a connected area of which less than {100 * FOUND:g} % was found",
}
_MOSTLY = {
    "boundary": "at the borders of areas",
    "confusion": "in areas that were found in part",
    "missed": "in areas that were not found",
}
_CLASS_COLUMNS = ("Pixels", "Images", "IoU", "95 %", "Accuracy", "Precision", "Dice", "Boundary IoU")
_PAIRS = 15
_NAMED = 3  # confusions that are named below an image
_FEW_IMAGES = 20


def write_segmentation_report(
    path: str | os.PathLike,
    *,
    counts: SegmentationCounts | str | os.PathLike,
    data: PreparedSegmentation,
    split: str,
    title: str,
    curves: str | os.PathLike | None = None,
    facts: Sequence[tuple[str, str]] = (),
    worst: int = 24,
) -> None:
    """Write how well a segmentor does, and where it fails, as one self-contained HTML page.

    Args:
        path: The HTML file to write.
        counts: What was counted in the images of the split, or the file that has it; its predictions are those shown.
        data: The data set, which has the images, the masks and the colours. Classes are the same by name.
        split: Of the data set.
        title: Heading.
        curves: Picture of the training's curves, embedded at the end; None for none.
        facts: Further rows for the table of what was scored, name and value.
        worst: How many of the worst images to show, of those whose prediction was kept.

    Raises:
        DataError: if the counts or a mask cannot be read.
        OutputError: if the file cannot be written.
    """
    if not isinstance(counts, SegmentationCounts):
        counts = SegmentationCounts.read(counts)
    scores, truth = score_all(counts), _Truth(data, split, counts.names)
    wrong = counts.wrong()
    shown = sorted(counts.predictions, key=lambda image: -wrong[image])[:worst]
    matrix, drawn = (
        draw_confusion(scores.names, scores.confusion, percent=True) if scores.confusion.any() else (None, 0)
    )
    write_page(
        path,
        "segmentation_scores",
        title=title,
        lead=_lead(scores),
        facts=_facts(counts, scores, facts),
        scores=_score_rows(counts, scores),
        scores_note=_intervals_note(scores),
        errors=_error_rows(scores),
        class_columns=(*_CLASS_COLUMNS, *(kind.capitalize() for kind in KINDS if scores.errors)),
        classes=_class_rows(scores, truth.colours),
        confusion=None if matrix is None else data_uri(matrix),
        confusion_note=_confusion_note(scores, drawn),
        confusion_pairs=_pairs(scores),
        worst_title="The worst images" if shown else "No image to show",
        worst_lead=_worst_lead(shown),
        kinds=[{"title": kind, "color": _css(ERROR_COLORS[kind])} for kind in KINDS],
        worst=[_worst_view(counts, image, truth, wrong[image]) for image in shown],
        training=_embedded(curves),
    )


class _Truth:
    """The masks and colours of a data set, in the order of other class names."""

    def __init__(self, data: PreparedSegmentation, split: str, names: Sequence[str]) -> None:
        self._data = data
        self._pairs = {str(data.root / pair.image): pair for pair in data.splits[split]}
        matched = by_name(names, data.classes)
        self._label = np.full(256, IGNORED, np.uint8)
        for label, name in enumerate(data.classes):
            if name in matched:
                self._label[label] = list(names).index(matched[name])
        self.colours: list[Color] | None = None
        if data.colours is not None:
            self.colours = [label_color(label + 1) for label in range(len(names))]
            for label, colour in enumerate(data.colours):
                if self._label[label] != IGNORED:
                    self.colours[self._label[label]] = colour

    def image(self, file: str) -> Image.Image | None:
        """An image to look at; None if it cannot be read."""
        return open_image(str(self._data.root / file), self._data)

    def read(self, file: str) -> np.ndarray:
        """The labels of an image, ``(H, W)`` uint8."""
        return self._label[self._data.read_labels(self._pairs[str(self._data.root / file)])]


def _lead(scores: SegmentationScores) -> str:
    """Say in two sentences how good it is and where most errors lie."""
    if math.isnan(scores.mIoU):
        return f"No pixel of {_times(scores.images, 'image')} has a class, so nothing can be scored."
    scored = sum(not math.isnan(row["IoU"]) for row in scores.per_class.values())
    sure = f" (95 % interval {_range(scores.intervals['mIoU'])})" if "mIoU" in scores.intervals else ""
    text = (
        f"mIoU {_number(scores.mIoU)}{sure} over {_times(scored, 'class')} on {_times(scores.images, 'image')}; "
        f"{_percent(scores.aAcc)} of the pixels are right."
    )
    if not any(scores.errors.values()):
        return text
    most = max(scores.errors, key=scores.errors.__getitem__)
    share = scores.errors[most] / sum(scores.errors.values())
    return f"{text} {_percent(share)} of the wrong ones lie {_MOSTLY[most]}."


def _facts(
    counts: SegmentationCounts, scores: SegmentationScores, further: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    there = sum(row["pixels"] > 0 for row in scores.per_class.values())
    absent = len(scores.names) - there
    empty = scores.images - len(np.unique(counts.cells[:, 0]))
    return [
        *((str(name), str(value)) for name, value in further),
        ("images", f"{scores.images:,}" + (f", {empty:,} of them without a pixel that has a class" if empty else "")),
        ("pixels that have a class", f"{int(scores.confusion.sum()):,}"),
        ("classes", f"{there:,} in these images" + (f", {absent:,} more are in none of them" if absent else "")),
    ]


def _score_rows(counts: SegmentationCounts, scores: SegmentationScores) -> list[dict[str, str]]:
    keys = [key for key in _TITLES if key != "boundary_IoU" or counts.boundary is not None]
    return [
        {
            "title": _TITLES[key],
            "value": _number(getattr(scores, key)),
            "interval": _range(scores.intervals[key]) if key in scores.intervals else "–",
            "meaning": _MEANING[key].format(width=100 * (counts.boundary or 0)),
        }
        for key in keys
    ]


def _intervals_note(scores: SegmentationScores) -> str:
    if not scores.intervals:
        return "No intervals: they need two images or more."
    few = " So few images say little about how it does on others." if scores.images < _FEW_IMAGES else ""
    return (
        f"Intervals: percentiles over samples of the {scores.images:,} images with replacement. They say how much a "
        f"score depends on which images were scored, not what another seed of the training would change.{few}"
    )


def _error_rows(scores: SegmentationScores) -> list[dict[str, str]]:
    """Rows of the kinds of errors in their order; none if they were not counted, or there are none."""
    total = sum(scores.errors.values())
    if not total > 0:
        return []
    return [
        {
            "title": kind.capitalize(),
            "color": _css(ERROR_COLORS[kind]),
            "meaning": _LIES[kind],
            "pixels": _percent(scores.errors[kind]),
            "share": _percent(scores.errors[kind] / total),
            "part": f"{100 * scores.errors[kind] / total:.2f}%",
        }
        for kind in KINDS
    ]


def _class_rows(scores: SegmentationScores, colours: Sequence[Color] | None) -> list[dict[str, Any]]:
    rows = []
    for label, (name, row) in enumerate(scores.per_class.items()):
        interval = scores.intervals.get(f"IoU/{name}")
        cells = [
            _cell(row["pixels"], f"{row['pixels']:,}"),
            _cell(row["images"], f"{row['images']:,}"),
            _cell(row["IoU"], _number(row["IoU"])),
            _cell(math.nan if interval is None else interval[0], "–" if interval is None else _range(interval)),
            *(_cell(row[key], _number(row[key])) for key in ("Acc", "Precision", "Dice", "boundary_IoU")),
            *(_cell(share, _percent(share)) for share in scores.errors_per_class.get(name, {}).values()),
        ]
        if math.isfinite(row["IoU"]):
            cells[2]["part"] = f"{100 * row['IoU']:.1f}%"
        rows.append({"name": name, "color": _css(class_color(label, colours)), "cells": cells, "IoU": row["IoU"]})
    return sorted(rows, key=lambda row: (math.isnan(row["IoU"]), row["IoU"]))


def _cell(value: float, text: str) -> dict[str, Any]:
    return {"value": None if math.isnan(value) else round(value, 6), "text": text, "part": None}


def _pairs(scores: SegmentationScores) -> list[dict[str, str]]:
    """The mistakes between two classes that cost most pixels."""
    between, pixels = _mistakes(scores.confusion), scores.confusion.sum(axis=1)
    order = np.argsort(-between, axis=None, kind="stable")[:_PAIRS]
    return [
        {
            "is": scores.names[row],
            "as": scores.names[column],
            "count": f"{between[row, column]:,}",
            "share": _percent(between[row, column] / pixels[row]),
        }
        for row, column in zip(*np.unravel_index(order, between.shape), strict=True)
        if between[row, column]
    ]


def _mistakes(confusion: np.ndarray) -> np.ndarray:
    between = confusion.copy()
    np.fill_diagonal(between, 0)
    return between


def _confusion_note(scores: SegmentationScores, drawn: int) -> str:
    occur = int((scores.confusion.sum(axis=0) + scores.confusion.sum(axis=1) > 0).sum())
    part = f" {drawn} of {occur} classes are drawn, those with most mistakes between them." if drawn < occur else ""
    return f"Row: what it is; column: what it was taken for; in percent of the pixels of the row.{part}"


def _worst_lead(shown: Sequence[int]) -> str:
    if not shown:
        return "Every pixel is right, or no prediction was kept."
    return "Ranked by the share of their pixels that is wrong."


def _worst_view(counts: SegmentationCounts, image: int, truth: _Truth, wrong: float) -> dict[str, Any]:
    file = counts.files[image]
    name = Path(file).name
    labels, found = truth.read(file), counts.prediction(image)
    picture = truth.image(file)
    if picture is None:
        logger.warning("%s: cannot be read, its labels are drawn on black in the report", file)
        picture = Image.new("RGB", labels.shape[::-1])
    return {
        "file": name if len(name) <= 48 else f"{name[:24]}…{name[-22:]}",
        "picture": data_uri(draw_comparison(picture, labels, found, counts.names, truth.colours)),
        "found": f"{_percent(wrong)} of the pixels are wrong",
        "wrong": _words(counts, image),
    }


def _words(counts: SegmentationCounts, image: int) -> list[str]:
    """What is taken for what in one image, and where."""
    cells = counts.cells[counts.cells[:, 0] == image, 1:]
    pixels = np.bincount(cells[:, 0], cells[:, 2], len(counts.names))
    mistakes = cells[cells[:, 0] != cells[:, 1]]
    most = mistakes[np.argsort(-mistakes[:, 2], kind="stable")[:_NAMED]]
    lines = [
        f"{counts.names[true]} taken for {counts.names[found]}: {_percent(number / pixels[true])} of its pixels"
        for true, found, number in most.tolist()
    ]
    kinds = counts.borders[counts.borders[:, 0] == image, 5:].sum(axis=0)
    if kinds.any():
        shares = [f"{kind} {_percent(share)}" for kind, share in zip(KINDS, kinds / kinds.sum(), strict=True) if share]
        lines.append(f"of the errors: {', '.join(shares)}")
    return lines


def _embedded(picture: str | os.PathLike | None) -> str | None:
    if picture is None:
        return None
    image = open_upright(str(picture))
    if image is None:
        logger.warning("%s: cannot be read, left out of the report", picture)
    return None if image is None else data_uri(image)


def _css(color: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _times(count: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count:,} {what if count == 1 else plural}"
