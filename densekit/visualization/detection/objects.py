"""Objects drawn onto images: boxes, masks, names and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from densekit.ops import run_lengths
from densekit.visualization.shared.palette import Color, label_color
from densekit.visualization.shared.sheet import draw_frame, fitting, font, one_line

Box = tuple[int, int, int, int]

_CROWD = 40  # with more objects lines are one pixel, and names stand only where there is room
_FEW = 15  # up to so many objects every one is named, even if names cover each other
_OPACITY = 0.42  # of a mask
_COVERED = 0.14  # share of the picture that names may cover before those of small objects are left out
_LONGEST = 28  # letters of a class name on a picture
_IGNORED: Color = (170, 174, 182)
_HATCHING: Color = (62, 65, 70)


def draw_detections(
    image: Image.Image,
    boxes: Any,
    labels: Sequence[int],
    scores: Sequence[float] | None,
    masks: Sequence[Any] | None,
    names: Sequence[str],
    *,
    size: tuple[int, int] | None = None,
    ignored: Sequence[bool] | None = None,
    framed: bool = True,
) -> Image.Image:
    """Return an image with its objects, each in the colour of its class.

    Lines and letters grow with the picture. A crowded picture gets thin lines, and names only where they cover no other
    name. Where all objects are of one class, each mask has a colour of its own, so that neighbours can be told apart,
    and no name is written. Where a network found nothing, that is written.

    Args:
        image: RGB.
        boxes: ``(N, 4)`` as ``x1, y1, x2, y2`` in pixels of ``image``, (0, 0) at the corner of the first pixel. One
            that is not finite is not drawn.
        labels: Index into ``names``, ``(N,)``. One beyond them is shown as ``label 7``.
        scores: Written behind the names, ``(N,)``; None for none. The best lie on top.
        masks: For each object a bool array ``(H, W)``, COCO run lengths, COCO polygons or None; None for none at all.
            Arrays and run lengths of another size than the image's are stretched over it.
        names: Class names.
        size: Width and height of the result, at most; the picture is enlarged three times at most. None: as it is.
        ignored: Regions that do not count, bool ``(N,)``: grey and hatched, without name.
        framed: False draws a box only where there is no mask.

    Raises:
        ValueError: if the sequences are not of one length.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    labels = [int(label) for label in labels]
    masks = list(masks) if masks is not None else [None] * len(boxes)
    values = np.zeros(len(boxes)) if scores is None else np.asarray(scores, dtype=np.float64).reshape(-1)
    ignored = np.zeros(len(boxes), dtype=bool) if ignored is None else np.asarray(ignored, dtype=bool).reshape(-1)
    if not len(boxes) == len(labels) == len(masks) == len(values) == len(ignored):
        raise ValueError(
            f"{len(boxes)} boxes, {len(labels)} labels, {len(masks)} masks, {len(values)} scores and {len(ignored)} "
            f"marks of what is ignored do not belong together: give one of each for every object"
        )
    shown = fitting(image, size) if size else image.copy()
    factors = np.array([shown.width / image.width, shown.height / image.height])
    finite = np.isfinite(boxes).all(axis=1)
    order = [int(i) for i in np.argsort(values, kind="stable") if finite[i] and not ignored[i]]  # the best on top
    shown = _hatch(shown, boxes[ignored & finite] * np.tile(factors, 2))
    one_class = len(set(labels)) == 1 and len(names) <= 1
    colors = [
        label_color(i % 24 + 1 if one_class and mask is not None else label + 1)
        for i, (mask, label) in enumerate(zip(masks, labels, strict=True))
    ]
    shown = _lay_over(shown, [(_region(masks[i], factors, shown.size), colors[i]) for i in order])
    draw = ImageDraw.Draw(shown)
    crowded = len(order) > _CROWD
    width = 1 if crowded else min(max(round(max(shown.size) / 400), 2), 4)
    corners = boxes * np.tile(factors, 2)
    for i in order:
        if framed or masks[i] is None:
            thin = crowded or masks[i] is not None
            draw_frame(draw, corners[i], colors[i], width=1 if thin else width, edged=not thin)
    texts = [_tag(names, label, None if scores is None else value) for label, value in zip(labels, values, strict=True)]
    tags = [(corners[i], texts[i], colors[i]) for i in reversed(order) if texts[i]]
    if scores is not None and not len(boxes):  # or it could not be told from an image that was not predicted
        tags = [(np.array([0, 0, *shown.size]), "nothing found", _IGNORED)]
    _write_tags(draw, tags, shown.size)
    return shown


def _tag(names: Sequence[str], label: int, score: float | None) -> str:
    """Return what is written at an object: name and score, or what of them says anything."""
    name = one_line(names[label]) if 0 <= label < len(names) else f"label {label}"
    if len(name) > _LONGEST:
        name = name[: _LONGEST - 1] + "…"
    parts = [name] if len(names) > 1 or not 0 <= label < len(names) else []
    return " ".join(parts + ([] if score is None else [f"{score:.2f}"]))


def _write_tags(
    draw: ImageDraw.ImageDraw, tags: Sequence[tuple[np.ndarray, str, Color]], size: tuple[int, int]
) -> None:
    """Write the texts at their boxes, the first ones first; where they are many, only where there is room.

    None covers an object that is smaller than the text.
    """
    crowded = len(tags) > _CROWD
    points = 11 if crowded else min(max(round(max(size) / 48), 11), 22)
    letters, height = font(points), round(points * 1.3)
    widths = [round(letters.getlength(text)) + 6 for _, text, _ in tags]
    few = len(tags) <= _FEW or sum(widths) * height <= _COVERED * size[0] * size[1]
    room = np.inf if few else 0.8 if crowded else 1.3  # of the box's width: names of small objects cover neighbours
    taken, boxes = np.zeros((0, 4)), np.array([box for box, _, _ in tags]).reshape(-1, 4)
    areas, inside = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), boxes + (0.5, 0.5, -0.5, -0.5)
    for (box, text, color), width in zip(tags, widths, strict=True):
        wide = width > room * max(box[2] - box[0], 1)
        if wide and crowded:
            continue
        places = [_within(x, y, width, height, size) for x, y in _corners(box, width, height)]
        kept_free = inside if wide else inside[areas < width * height]
        places = [place for place in places if not _covers(place, kept_free)]
        free = (p for p in places if not _covers(p, taken))
        place = next(free, places[0] if places and len(tags) <= _FEW else None)
        if place is None:
            continue
        taken = np.concatenate([taken, [place]])
        draw.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=color)
        dark = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 130
        middle = (place[1] + place[3]) / 2
        draw.text((place[0] + 3, middle), text, fill=(0, 0, 0) if dark else (255,) * 3, font=letters, anchor="lm")


def _corners(box: np.ndarray, width: int, height: int) -> list[tuple[float, float]]:
    """Return where a text may begin, in the order of preference: above, below, inside, beside; left, then right."""
    x1, y1, x2, y2 = box
    above = y1 - height if y1 >= height else y1  # inside, where the border of the picture is too close
    inside = [(x1, y1), (x2 - width, y2), (x1, y2 - height)]
    return [(x1, above), (x2 - width, above), (x1, y2), *inside, (x2, y1), (x1 - width, y1)]


def _within(x: float, y: float, width: int, height: int, size: tuple[int, int]) -> Box:
    x, y = round(min(max(x, 0), max(size[0] - width, 0))), round(min(max(y, 0), max(size[1] - height, 0)))
    return x, y, x + width, y + height


def _covers(place: Box, taken: np.ndarray) -> bool:
    x1, y1, x2, y2 = place
    overlap = (taken[:, 0] < x2) & (taken[:, 2] > x1) & (taken[:, 1] < y2) & (taken[:, 3] > y1)
    return bool(overlap.any())


def _region(mask: Any, factors: np.ndarray, size: tuple[int, int]) -> tuple[Box, Image.Image] | None:
    """Return where on the shown picture a mask lies and, of that part, 255 where it is; None for nothing."""
    if mask is None:
        return None
    if isinstance(mask, (list, tuple)):
        return _polygon_region([np.asarray(p, dtype=np.float64).reshape(-1, 2) * factors for p in mask], size)
    mask = run_lengths.decode(mask) if isinstance(mask, dict) else np.asarray(mask, dtype=bool)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    y1, y2, x1, x2 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    fx, fy = size[0] / mask.shape[1], size[1] / mask.shape[0]
    box = (int(x1 * fx), int(y1 * fy), min(int(np.ceil(x2 * fx)), size[0]), min(int(np.ceil(y2 * fy)), size[1]))
    part = Image.fromarray(mask[y1:y2, x1:x2].astype(np.uint8) * 255)
    part = part.resize((max(box[2] - box[0], 1), max(box[3] - box[1], 1)), Image.Resampling.BILINEAR)
    return box, part.point(lambda value: 255 if value >= 96 else 0)


def _polygon_region(polygons: list[np.ndarray], size: tuple[int, int]) -> tuple[Box, Image.Image] | None:
    polygons = [points for points in polygons if len(points) >= 3]
    if not polygons:
        return None
    points = np.concatenate(polygons)
    low, high = np.clip(np.floor(points.min(0)), 0, size), np.clip(np.ceil(points.max(0)), 0, size)
    box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    if box[0] >= box[2] or box[1] >= box[3]:
        return None
    part = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    draw = ImageDraw.Draw(part)
    for polygon in polygons:
        draw.polygon([tuple(p) for p in polygon - low - 0.5], fill=255)  # Pillow's (0, 0) is the middle of a pixel
    return box, part


def _lay_over(shown: Image.Image, regions: Sequence[tuple[tuple[Box, Image.Image] | None, Color]]) -> Image.Image:
    """Lay colours over regions, half transparent, and draw their outlines."""
    found = [(*region, color) for region, color in regions if region is not None]
    if not found:
        return shown
    overlay = shown.copy()
    for box, part, color in found:
        overlay.paste(color, box[:2] + (box[0] + part.width, box[1] + part.height), part)
    shown = Image.blend(shown, overlay, _OPACITY)
    for box, part, color in found:
        padded = Image.new("L", (part.width + 2, part.height + 2))
        padded.paste(part, (1, 1))
        line = ImageChops.subtract(padded, padded.filter(ImageFilter.MinFilter(3)))
        shown.paste(color, (box[0] - 1, box[1] - 1, box[0] - 1 + padded.width, box[1] - 1 + padded.height), line)
    return shown


def _hatch(shown: Image.Image, boxes: np.ndarray) -> Image.Image:
    for box in boxes:
        x1, y1, x2, y2 = (int(v) for v in np.clip(np.round(box), 0, np.tile(shown.size, 2)))
        if x1 >= x2 or y1 >= y2:
            continue
        width, height = x2 - x1, y2 - y1
        shown.paste(_IGNORED, (x1, y1, x2, y2), Image.new("L", (width, height), 120))
        lines = Image.new("L", (width, height))
        draw = ImageDraw.Draw(lines)
        for start in range(-height, width, 8):
            draw.line((start, height, start + height, 0), fill=180)
        shown.paste(_HATCHING, (x1, y1, x2, y2), lines)
        draw_frame(ImageDraw.Draw(shown), (x1, y1, x2, y2), _IGNORED, width=1)
    return shown
