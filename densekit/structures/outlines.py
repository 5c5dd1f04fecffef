"""Outlines of objects: polygons ``[[x1, y1, x2, y2, ...], ...]`` or :mod:`run lengths <densekit.ops.run_lengths>`.

Both as COCO writes them, coordinates in pixels with (0, 0) at the corner of the first pixel.
"""

from __future__ import annotations

import numpy as np

from densekit.ops import run_lengths


def extent(outline: list | dict) -> tuple[np.ndarray, float] | None:
    """Return the box ``[x, y, width, height]`` around an outline and its area in pixels; None if it is empty.

    The area of several polygons is the sum of theirs (COCO's parts of one object do not overlap).

    Raises:
        ValueError: if run lengths are not those of a mask of their size.
    """
    if isinstance(outline, dict):
        return run_lengths.extent(outline)
    polygons = [np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in outline]
    if not polygons:
        return None
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([low, high - low]), sum(polygon_area(p) for p in polygons)


def polygon_area(points: np.ndarray) -> float:
    """Return the area inside a polygon ``(n, 2)``, by the shoelace formula."""
    x, y = points[:, 0], points[:, 1]
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
