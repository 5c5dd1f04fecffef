"""Outlines of objects: polygons ``[[x1, y1, x2, y2, ...], ...]`` and run lengths ``{"size": [h, w], "counts": ...}``.

Both as COCO writes them: coordinates in pixels with (0, 0) at the corner of the first pixel; run lengths column by
column, beginning with the zeros, as a list or in COCO's compressed text form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return the run lengths of a mask ``(height, width)`` of bool, as a plain list (JSON can hold it)."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([changes, [flat.size]])
    starts = np.concatenate([[0], changes])
    counts = (ends - starts).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": counts}


def decode_mask(rle: dict[str, Any]) -> np.ndarray:
    """Return the mask ``(height, width)`` of bool for run lengths."""
    counts = run_lengths(rle)
    values = np.zeros(len(counts), dtype=bool)
    values[1::2] = True
    height, width = rle["size"]
    return np.repeat(values, counts).reshape((width, height)).T


def run_lengths(rle: dict[str, Any]) -> np.ndarray:
    """Return the run lengths as numbers, whichever form they are in.

    The compressed form writes each number in groups of five bits, lowest first, as the characters from ``"0"`` (48);
    the sixth bit says that more groups follow, the fifth bit of the last group is the sign. From the third number
    on, the difference to the number two before it is written.

    Raises:
        ValueError: if they are not those of a mask of their size.
    """
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        counts = _decompress(counts.encode("ascii") if isinstance(counts, str) else counts)
    counts = np.asarray(counts, dtype=np.int64).reshape(-1)
    height, width = rle["size"]
    if counts.sum() != height * width or (counts < 0).any():
        raise ValueError(f"run lengths add up to {counts.sum()} pixels, the mask has {height} x {width}")
    return counts


def _decompress(text: bytes) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    return numbers


def extent(segmentation: list | dict) -> tuple[np.ndarray, float] | None:
    """Return the box ``[x, y, width, height]`` around an outline and its area in pixels; None if it is empty.

    The area of several polygons is the sum of theirs (COCO's parts of one object do not overlap).
    """
    if isinstance(segmentation, dict):
        counts = run_lengths(segmentation)
        return _run_extent(counts, segmentation["size"][0])
    polygons = [np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in segmentation]
    if not polygons:
        return None
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([low, high - low]), sum(polygon_area(p) for p in polygons)


def _run_extent(counts: np.ndarray, height: int) -> tuple[np.ndarray, float] | None:
    ends = counts.cumsum()
    starts, ends = (ends - counts)[1::2], ends[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return None
    x1, x2 = starts[0] // height, (ends[-1] - 1) // height + 1
    whole_column = (starts // height != (ends - 1) // height).any()  # a run over a column's end touches both edges
    y1 = 0 if whole_column else (starts % height).min()
    y2 = height if whole_column else ((ends - 1) % height).max() + 1
    return np.array([x1, y1, x2 - x1, y2 - y1], dtype=np.float64), float((ends - starts).sum())


def polygon_area(points: np.ndarray) -> float:
    """Return the area inside a polygon ``(n, 2)``, by the shoelace formula."""
    x, y = points[:, 0], points[:, 1]
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


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
