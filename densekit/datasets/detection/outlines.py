"""Do outlines fit their boxes, and are they simple?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from PIL import Image, ImageDraw

from densekit.datasets.detection.dataset import DetectionDataset
from densekit.datasets.detection.findings import Findings
from densekit.structures.boxes import clip, iou, to_xywh, to_xyxy
from densekit.structures.findings import Example
from densekit.structures.outlines import extent, polygon_area

COMPARED = 100_000
TRACED = 5_000
_CANVAS = 256
_SPECK = 0.05
_LONGEST = 400  # points of a polygon up to which its edges are compared pair by pair


def check_outlines(dataset: DetectionDataset, findings: Findings) -> None:
    """Compare outlines with boxes, and find polygons that cross themselves; of very many, a fixed sample."""
    rows = np.flatnonzero(dataset.annotations.outlined & ~dataset.annotations.crowd)
    _compare(dataset, findings, _sample(rows, COMPARED))
    polygons = [r for r in _sample(rows, TRACED) if isinstance(dataset.annotations.masks[r], list)]
    crossing = [row for row in polygons if any(_spoiled(polygon) for polygon in dataset.annotations.masks[row])]
    findings.rows("outline-crosses", crossing, lambda row: _place(dataset, row, _of(len(polygons), rows)))


def _spoiled(polygon: list[float]) -> bool:
    """Whether a polygon crosses itself so that it covers another area than it encloses; specks do not matter."""
    if len(polygon) > 2 * _LONGEST or not crosses_itself(polygon):
        return False
    points = np.reshape(polygon, (-1, 2))
    points = (points - points.min(axis=0)) * (_CANVAS / np.maximum(np.ptp(points, axis=0), 1e-6))
    picture = Image.new("1", (_CANVAS + 1, _CANVAS + 1))
    ImageDraw.Draw(picture).polygon([tuple(point) for point in points.tolist()], fill=1)
    covered = np.count_nonzero(picture)
    return abs(covered - polygon_area(points)) > _SPECK * covered


def _sample(rows: np.ndarray, limit: int) -> np.ndarray:
    return rows if len(rows) <= limit else np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))


def _of(looked_at: int, rows: np.ndarray) -> str:
    return f" (a sample of {looked_at} of {len(rows)} was looked at)" if looked_at < len(rows) else ""


def _compare(dataset: DetectionDataset, findings: Findings, rows: np.ndarray) -> None:
    a = dataset.annotations
    size = np.array([(i.width, i.height) for i in dataset.images], dtype=np.float64).reshape(-1, 2)
    files = np.array([(h.width, h.height) if h else (0, 0) for h in dataset.headers], dtype=np.float64).reshape(-1, 2)
    size = np.maximum(size, files)  # where the two disagree, that is an error of its own
    around = clip(_bounds([a.masks[row] for row in rows]), size[a.image_index[rows]])
    box = a.xyxy[rows]
    overlap = iou(a.xywh[rows], to_xywh(around))
    differing = (np.abs(around - box).max(axis=1, initial=0) > 2) & (overlap < 0.7)
    findings.rows("box-outline-differ", rows[differing], lambda row: _place(dataset, row))


def _bounds(outlines: list[list | dict]) -> np.ndarray:
    """Return the corners ``[x1, y1, x2, y2]`` around each outline; NaN around none."""
    bounds = np.full((len(outlines), 4), np.nan)
    polygons = [place for place, outline in enumerate(outlines) if isinstance(outline, list)]
    if polygons:  # all points in one array: there may be millions
        values = chain.from_iterable(chain.from_iterable(outlines[place] for place in polygons))
        points = np.fromiter(values, dtype=np.float64).reshape(-1, 2)
        lengths = [sum(map(len, outlines[place])) // 2 for place in polygons]
        starts = np.cumsum([0, *lengths[:-1]])
        bounds[polygons] = np.concatenate(
            [np.minimum.reduceat(points, starts, axis=0), np.maximum.reduceat(points, starts, axis=0)], axis=1
        )
    for place, outline in enumerate(outlines):
        if isinstance(outline, dict) and (around := extent(outline)) is not None:
            bounds[place] = to_xyxy(around[0])
    return bounds


def _place(dataset: DetectionDataset, row: int, words: str = "") -> Example:
    a = dataset.annotations
    where = f"{dataset.images[a.image_index[row]].file}: {a.words(row, dataset.classes)}{words}"
    outline = a.masks[row]
    drawn = tuple(tuple(polygon) for polygon in outline) if isinstance(outline, list) else ()
    return Example(where, str(dataset.path(a.image_index[row])), (a.corners(row),), drawn)


def crosses_itself(polygon: Sequence[float]) -> bool:
    """Whether two edges of a polygon ``[x1, y1, x2, y2, ...]`` cross at a point that is inside both."""
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    keep = (points != np.roll(points, 1, axis=0)).any(axis=1)
    points = points[keep]
    n = len(points)
    if n < 4:
        return False
    start, end = points, np.roll(points, -1, axis=0)

    def side(p: np.ndarray) -> np.ndarray:
        """Sign of the side of edge i (rows) on which point p[j] (columns) lies."""
        d = end - start
        return np.sign(
            d[:, None, 0] * (p[None, :, 1] - start[:, None, 1]) - d[:, None, 1] * (p[None, :, 0] - start[:, None, 0])
        )

    apart = side(start) * side(end) < 0  # [i, j]: the ends of edge j lie on different sides of edge i
    return bool((apart & apart.T).any())
