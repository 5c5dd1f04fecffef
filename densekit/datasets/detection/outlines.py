"""Do outlines fit their boxes, and are they simple?"""

from __future__ import annotations

from itertools import chain

import numpy as np
from PIL import Image, ImageDraw

from densekit.datasets.detection.dataset import DetectionDataset
from densekit.datasets.detection.findings import Findings
from densekit.datasets.detection.segmentation import crosses_itself, extent, polygon_area
from densekit.datasets.shared.finding import Example

COMPARED = 100_000
TRACED = 5_000
_CANVAS = 256
_SPECK = 0.05
_LONGEST = 400  # points of a polygon up to which its edges are compared pair by pair


def check_outlines(dataset: DetectionDataset, findings: Findings) -> None:
    """Compare outlines with boxes, and find polygons that cross themselves; of very many, a fixed sample."""
    outlined = np.array([outline is not None for outline in dataset.annotations.segmentation], dtype=bool)
    rows = np.flatnonzero(outlined & ~dataset.annotations.crowd)
    _compare(dataset, findings, _sample(rows, COMPARED))
    polygons = [r for r in _sample(rows, TRACED) if isinstance(dataset.annotations.segmentation[r], list)]
    crossing = [row for row in polygons if any(_spoiled(polygon) for polygon in dataset.annotations.segmentation[row])]
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
    around = np.clip(_bounds([a.segmentation[row] for row in rows]), 0, np.tile(size[a.image[rows]], 2))
    box = a.xyxy[rows]
    sides = np.minimum(around[:, 2:], box[:, 2:]) - np.maximum(around[:, :2], box[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    total = (box[:, 2:] - box[:, :2]).prod(axis=1) + (around[:, 2:] - around[:, :2]).prod(axis=1) - shared
    differing = (np.abs(around - box).max(axis=1, initial=0) > 2) & (shared < 0.7 * total)
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
            bounds[place] = (*around[0][:2], *(around[0][:2] + around[0][2:]))
    return bounds


def _place(dataset: DetectionDataset, row: int, words: str = "") -> Example:
    a = dataset.annotations
    where = f"{dataset.images[a.image[row]].file}: {a.words(row, dataset.classes)}{words}"
    outline = a.segmentation[row]
    drawn = tuple(tuple(polygon) for polygon in outline) if isinstance(outline, list) else ()
    return Example(where, str(dataset.path(a.image[row])), (a.corners(row),), drawn)
