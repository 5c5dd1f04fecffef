"""Boxes as arrays ``(..., 4)`` of float64 in pixels.

Coordinates are those of edges, not of pixel centres: (0, 0) is the outer corner of the first pixel, a box around that
pixel alone is ``x, y, width, height = 0, 0, 1, 1``, and one around a whole image ``0, 0, W, H``. Arrays are kept in
COCO's arrangement ``xywh``, and ``xyxy`` (corners ``x1, y1, x2, y2``) is computed from it: ``x + w - x`` is not always
``w``, so the other way round the boxes of a file would not be written as they were read, nor scored as elsewhere.
"""

from __future__ import annotations

import numpy as np


def to_xyxy(xywh: np.ndarray) -> np.ndarray:
    """Return the corners ``x1, y1, x2, y2``."""
    return np.concatenate([xywh[..., :2], xywh[..., :2] + xywh[..., 2:]], axis=-1)


def to_xywh(xyxy: np.ndarray) -> np.ndarray:
    """Return ``x, y, width, height`` in float64."""
    xyxy = np.asarray(xyxy, dtype=np.float64)
    return np.concatenate([xyxy[..., :2], xyxy[..., 2:] - xyxy[..., :2]], axis=-1)


def area(xywh: np.ndarray) -> np.ndarray:
    """Return width times height."""
    return xywh[..., 2] * xywh[..., 3]


def clip(xyxy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return corners within images of these widths and heights ``(..., 2)``."""
    return np.clip(xyxy, 0, np.concatenate([sizes, sizes], axis=-1))


def iou(one: np.ndarray, other: np.ndarray, crowd: np.ndarray | bool = False) -> np.ndarray:
    """Return intersection over union, box by box; shapes are broadcast: ``(N, 1, 4)`` with ``(M, 4)`` gives ``(N, M)``.

    In the order of pycocotools' operations, so that the same pairs reach a threshold.

    Args:
        one: ``xywh``.
        other: ``xywh``.
        crowd: Whether the second box stands for a group: then the intersection is divided by the first one's area.

    Returns:
        0 to 1; 0 where boxes do not overlap, or have no extent.
    """
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    sides = high - low
    inside = np.where((sides > 0).all(axis=-1), sides[..., 0] * sides[..., 1], 0.0)
    union = np.where(crowd, area(one), area(one) + area(other) - inside)
    return np.divide(inside, union, out=np.zeros_like(inside), where=inside > 0)
