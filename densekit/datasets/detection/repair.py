"""What can be put right without guessing is put right, and each time it is counted with a place to look at."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from densekit.datasets.detection import conventions
from densekit.datasets.detection.draft import Draft, DraftImage, Places
from densekit.datasets.shared.findings import EXAMPLES
from densekit.datasets.shared.small_images import open_small
from densekit.ops import run_lengths
from densekit.structures.boxes import area, clip, to_xywh
from densekit.structures.detections import Detections
from densekit.structures.findings import Example
from densekit.structures.outlines import extent

BORDER = 0.5
"""Pixels that a box may reach over the border before it is clipped: that much is rounding."""

OFTEN = 0.2
"""Share of the boxes from which on those over the border are worth a look."""

FARTHEST = 1e9
"""Pixels from the origin up to which a number of an outline is taken for a coordinate."""

_CONVENTIONS = {"annotation": "corner", "line": "centre", "object": "corners"}
"""How COCO, YOLO and VOC write boxes, by what their annotations are called."""


def repair(draft: Draft, root: Path) -> Detections:
    """Return the annotations in pixels with usable boxes, outlines and areas; findings go to ``draft.findings``.

    Boxes in exchanged corners are put in order, missing ones are taken from the outline; those without extent or
    wholly outside are left out, those over the border are clipped; of identical annotations one is kept.
    """
    places = Places(draft, root)
    a = draft.annotations
    size = np.array([_extent(image) for image in draft.images], dtype=np.float64).reshape(-1, 2)[a.image_index]
    if draft.fractions:
        _scale(a, size)
    a, size = _check_outlines(a, size, draft, places)
    if _wrong_format(a, size, draft, places):
        a.xywh[:] = conventions.in_order(a.xywh)
        return _fill_area(a)
    _put_in_order(a, draft, places)
    a, size = _give_extent(a, size, draft, places)
    a, size = _keep_inside(a, size, draft, places)
    a = _drop_duplicates(a, draft, places)
    return _fill_area(a)


def _extent(image: DraftImage) -> tuple[int, int]:
    """Return width and height to judge boxes by: the larger ones, where annotation and file disagree (an error)."""
    if image.header is None:
        return image.width, image.height
    return max(image.width, image.header.width), max(image.height, image.header.height)


def _scale(a: Detections, size: np.ndarray) -> None:
    a.xywh[:] *= np.tile(size, 2)
    for row, polygons in enumerate(a.masks):
        if polygons is not None:
            a.masks[row] = [(np.reshape(p, (-1, 2)) * size[row]).ravel().tolist() for p in polygons]


def _check_outlines(a: Detections, size: np.ndarray, draft: Draft, places: Places) -> tuple[Detections, np.ndarray]:
    """Leave polygons out that are none, and annotations whose run lengths are not those of their image.

    An outline may be any JSON value. Polygons of points ``[[x, y], ...]`` become COCO's ``[x, y, x, y, ...]``.
    """
    short: list[int] = []
    points: list[int] = []
    wrong_size = np.zeros(len(a), dtype=bool)
    for row, outline in enumerate(a.masks):
        if isinstance(outline, dict):
            problem = _run_length_problem(outline, size[row])
            if problem:
                wrong_size[row] = True
                draft.findings.add("mask-size", places.annotation(a, row, problem))
        elif outline is not None and not (isinstance(outline, list) and outline and all(map(_is_polygon, outline))):
            given = outline if isinstance(outline, list) else [outline]
            flat = [list(chain.from_iterable(p)) if _is_points(p) else p for p in given]
            good = [p for p in flat if _is_polygon(p)]
            if len(good) < len(given):
                short.append(row)
            if flat != given and good:
                points.append(row)
            a.masks[row] = good or None
    draft.findings.rows("outline-short", short, lambda row: places.annotation(a, row))
    words = "outlines written as points [[x, y], ...], read as COCO's [x, y, x, y, ...]"
    draft.findings.rows("layout", points, lambda row: places.annotation(a, row), words)
    return a.take(~wrong_size), size[~wrong_size]


def _is_points(polygon: Any) -> bool:
    return isinstance(polygon, list) and all(isinstance(point, list) and len(point) == 2 for point in polygon)


def _is_polygon(polygon: Any) -> bool:
    """Whether it is a list of the coordinates of three points or more."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    try:
        return -FARTHEST < min(polygon) and max(polygon) < FARTHEST and not math.isnan(sum(polygon))  # noqa: SIM300
    except TypeError:  # text, null, lists
        return False


def _run_length_problem(outline: dict, size: np.ndarray) -> str:
    try:
        height, width = outline["size"]
        if (width, height) != tuple(size):
            return f"the mask is {width} x {height}, the image {_by(size)}"
        run_lengths.lengths(outline)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return f"the run lengths cannot be used ({error})"
    return ""


def _by(size: np.ndarray) -> str:
    return f"{size[0]:.0f} x {size[1]:.0f}"


def _wrong_format(a: Detections, size: np.ndarray, draft: Draft, places: Places) -> bool:
    """Find boxes in another convention than their layout's, all or some: an error, with both readings to look at."""
    own = _CONVENTIONS.get(draft.unit)
    plain = np.isfinite(a.xywh).all(axis=1) & ~(a.outlined & draft.fractions)  # YOLO's outlines are no boxes
    rows = np.flatnonzero(plain)
    if own is None or len(rows) < 3:
        return False
    stored, size = conventions.stored_as(a.xywh[rows], own), size[rows]
    small, unit = np.zeros(len(rows), dtype=bool), "as fractions" if draft.fractions else ""

    def look(stored: np.ndarray) -> conventions.Fits:
        return conventions.look(boxes, stored, size, own, lambda image: _pixels(places, image), shares=bool(unit))

    if not draft.fractions:
        small = conventions.are_fractions(stored, size)
        unit = "as fractions" if small.any() else ""
    among = np.flatnonzero(small) if small.any() else np.arange(len(rows))
    stored, size = stored[among] * (np.tile(size[among], 2) if small.any() else 1), size[among]
    boxes = a.take(rows[among])
    if not unit and conventions.are_percent(stored, size, look):
        unit, small, stored = "in percent", np.ones(len(rows), dtype=bool), conventions.percent(stored, size)
    verdict = conventions.judge(stored, size, own, look(stored), shares=bool(unit))
    if verdict is None and not small.any():
        return False
    reading, shown = (verdict.reading, verdict.rows) if verdict else (own, np.arange(len(among)))
    share = small.mean() if small.any() else verdict.share
    likely = conventions.named(reading, unit)
    most = f"in {share:.0%} of the boxes every number is at most {100 if unit == 'in percent' else 1}"
    evidence = [*([most] if small.any() else []), *([verdict.words] if verdict else [])]
    whose = "boxes are" if share > conventions.WHOLE else f"{share:.0%} of the boxes are"
    message = f"{whose} in another format, most likely {likely}: {'; '.join(evidence)}"
    right = replace(boxes, xywh=conventions.read_as(stored, reading, size if unit else None))

    def place(number: int) -> Example:
        words = f"but {right.words(number, draft.classes)} if read as {conventions.READINGS[reading]}"
        example = places.annotation(a, rows[among[number]], words)
        return replace(example, likely=(right.corners(number),))

    shown = [place(number) for number in shown[:EXAMPLES]]
    draft.findings.add("box-format", *shown, count=max(len(shown), round(share * len(rows))), message=message)
    return True


def _pixels(places: Places, index: int) -> np.ndarray | None:
    """Return the pixels of an image, upright, made smaller if it is large; None if it cannot be read."""
    image = places.draft.images[index]
    return open_small(places.root / image.file) if image.found else None


def _put_in_order(a: Detections, draft: Draft, places: Places) -> None:
    """Put exchanged corners in order; only corners can be exchanged, a negative size is none."""
    if _CONVENTIONS.get(draft.unit) != "corners":
        return
    exchanged = np.flatnonzero((a.xywh[:, 2:] < 0).any(axis=1))
    draft.findings.rows("box-inverted", exchanged, lambda row: places.annotation(a, row))
    a.xywh[exchanged] = conventions.in_order(a.xywh[exchanged])


def _give_extent(a: Detections, size: np.ndarray, draft: Draft, places: Places) -> tuple[Detections, np.ndarray]:
    keep = (a.xywh[:, 2:] > 0).all(axis=1)  # NaN counts as without extent
    given = []
    for row in np.flatnonzero(~keep):
        around = extent(a.masks[row]) if a.masks[row] is not None else None
        if around is not None and (around[0][2:] > 0).all():
            a.xywh[row] = around[0]
            keep[row] = True
            given.append(row)
    draft.findings.rows("box-from-outline", given, lambda row: places.annotation(a, row))
    draft.findings.rows("box-without-extent", np.flatnonzero(~keep), lambda row: places.annotation(a, row))
    return a.take(keep), size[keep]


def _keep_inside(a: Detections, size: np.ndarray, draft: Draft, places: Places) -> tuple[Detections, np.ndarray]:
    corners = a.xyxy
    clipped = clip(corners, size)
    excess = np.abs(corners - clipped).max(axis=1, initial=0)
    outside = (clipped[:, 2:] <= clipped[:, :2]).any(axis=1)
    over = (excess > BORDER) & ~outside

    def of_image(row: int, words: str = "") -> Example:
        return places.annotation(a, row, f"{words}image {_by(size[row])}")

    draft.findings.rows("box-outside", np.flatnonzero(outside), of_image)
    own, worst_first = _CONVENTIONS.get(draft.unit), np.argsort(-excess, kind="stable")
    if own is not None and over.any():
        odd, reading = conventions.few_impossible(conventions.stored_as(a.xywh, own), size, own)
        odd = worst_first[np.isin(worst_first, odd) & over[worst_first]]
        words = f"{conventions.READINGS[reading]}? "
        draft.findings.rows("box-impossible", odd, lambda row: of_image(row, f"{excess[row]:.3g} px over; {words}"))
        worst_first = worst_first[~np.isin(worst_first, odd)]
    worst_first = worst_first[over[worst_first]]
    often = len(worst_first) >= max(OFTEN * len(over), conventions.LEAST)
    code = "boxes-over-border" if often else "box-over-border"
    draft.findings.rows(code, worst_first, lambda row: of_image(row, f"{excess[row]:.3g} px over; "))
    a.xywh[over] = to_xywh(clipped[over])
    a.areas[over & ~a.outlined] = np.nan  # the area was that of the box before
    return a.take(~outside), size[~outside]


def _drop_duplicates(a: Detections, draft: Draft, places: Places) -> Detections:
    # Equal rows become neighbours, the first stays first.
    order = np.lexsort((*a.xywh.T, a.crowd, a.labels, a.image_index))
    before, after = order[:-1], order[1:]
    same = (a.image_index[before] == a.image_index[after]) & (a.labels[before] == a.labels[after])
    same &= (a.crowd[before] == a.crowd[after]) & (a.xywh[before] == a.xywh[after]).all(axis=1)
    pairs = zip(before[same], after[same], strict=True)
    again = sorted(other for one, other in pairs if a.masks[one] == a.masks[other])
    draft.findings.rows("box-duplicate", again, lambda row: places.annotation(a, row))
    keep = np.ones(len(a), dtype=bool)
    keep[again] = False
    return a.take(keep)


def _fill_area(a: Detections) -> Detections:
    lacking = ~(a.areas > 0)
    boxes = lacking & ~a.outlined
    a.areas[boxes] = area(a.xywh[boxes])
    for row in np.flatnonzero(lacking & ~boxes):
        around = extent(a.masks[row])
        a.areas[row] = around[1] if around is not None and around[1] > 0 else area(a.xywh[row])
    return a
