"""How sharp the sides of boxes are in an image: they lie where it changes, if the boxes are right."""

from __future__ import annotations

import numpy as np

from densekit.structures.boxes import to_xyxy

DEPTH, DEEPEST = 0.15, 16
"""Depth of the strips on both sides of a box's side, as a share of the box, and at most in pixels."""


def steps(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return how sharp the sides of boxes ``(..., 4)`` are: the mean logarithm of the weaker half of their sides.

    A box beside an object has a side or two on edges by accident, so the weaker ones count. A side is as sharp as the
    mean of a strip inside of it differs from that of the strip outside. 0 stands for eight grey levels; NaN for a box
    that leaves the image or has fewer than two sides with something beyond them.
    """
    height, width = pixels.shape[:2]
    sums = np.zeros((height + 1, width + 1, 3))
    np.cumsum(np.cumsum(pixels, axis=0, dtype=np.float64), axis=1, out=sums[1:, 1:])
    corners = to_xyxy(boxes)
    inside = (boxes[..., 2:] > 1).all(axis=-1) & (corners[..., :2] > -3).all(axis=-1)
    inside &= (corners[..., 2:] < np.array([width + 3, height + 3])).all(axis=-1)
    x1, y1, x2, y2 = (np.rint(np.where(inside, corners[..., i], 0)).astype(np.int64) for i in range(4))
    x1, x2, y1, y2 = x1.clip(0, width), x2.clip(0, width), y1.clip(0, height), y2.clip(0, height)
    tx, ty = (np.rint(DEPTH * (b - a)).astype(np.int64).clip(2, DEEPEST) for a, b in ((x1, x2), (y1, y2)))
    # The middle half of each side: round objects touch their box there.
    ax, bx, ay, by = x1 + (x2 - x1) // 4, x2 - (x2 - x1) // 4, y1 + (y2 - y1) // 4, y2 - (y2 - y1) // 4
    pairs = (
        ((x1 - tx, ay, x1, by), (x1, ay, x1 + tx, by)),
        ((x2, ay, x2 + tx, by), (x2 - tx, ay, x2, by)),
        ((ax, y1 - ty, bx, y1), (ax, y1, bx, y1 + ty)),
        ((ax, y2, bx, y2 + ty), (ax, y2 - ty, bx, y2)),
    )
    steps = [np.abs(_mean(sums, *out) - _mean(sums, *within)).max(axis=-1) for out, within in pairs]
    logs = np.sort(np.log((np.stack(steps) + 4) / 12), axis=0)  # NaN last
    sides = (~np.isnan(logs)).sum(axis=0)
    weakest = np.where(sides > 3, (logs[0] + logs[1]) / 2, logs[0])
    return np.where(inside & (sides >= 2), weakest, np.nan)


def _mean(sums: np.ndarray, x1: np.ndarray, y1: np.ndarray, x2: np.ndarray, y2: np.ndarray) -> np.ndarray:
    """Return the mean colour of rectangles, of what of them is in the image; NaN where nothing is."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    x1, x2, y1, y2 = x1.clip(0, width), x2.clip(0, width), y1.clip(0, height), y2.clip(0, height)
    total = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
    count = ((x2 - x1) * (y2 - y1))[..., None]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
