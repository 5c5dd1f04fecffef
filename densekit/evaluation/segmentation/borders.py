"""Pixels near a border between classes, of all classes at once."""

from __future__ import annotations

import math

import numpy as np

from densekit.structures.label_images import IGNORED


def radius_of(shape: tuple[int, ...], share: float) -> int:
    """A share of the diagonal of an image ``(H, W)`` in whole pixels, 1 at least."""
    return max(1, round(share * math.hypot(*shape[:2])))


def near_border(labels: np.ndarray, radius: int) -> np.ndarray:
    """Return where another class, or the edge of the image, lies within a square of ``2 * radius + 1`` around a pixel.

    Of the pixels of one class these are what its mask loses if it is eroded ``radius`` times by 3 x 3. What is
    ignored is of no class: a border to it is none.

    Args:
        labels: ``(H, W)`` uint8 with :data:`IGNORED`.
        radius: Pixels.

    Returns:
        ``(H, W)`` of bool; what it says of ignored pixels means nothing.
    """
    near = np.ones(labels.shape, bool)
    smallest = over_squares(labels, radius, np.minimum)
    classes = labels + (labels == IGNORED).view(np.uint8)  # 255 + 1 is 0, which is never the larger
    largest = over_squares(classes, radius, np.maximum)
    np.not_equal(smallest, largest, out=near[radius : len(near) - radius, radius : near.shape[1] - radius])
    return near


def over_squares(values: np.ndarray, radius: int, operation: np.ufunc) -> np.ndarray:
    """One value for each square of ``2 * radius + 1`` that lies within ``(H, W)``.

    Squares grow by their own width at a time: time grows with the logarithm of the radius.

    Args:
        values: ``(H, W)``.
        radius: Pixels.
        operation: Of two values; in any order, and a value that comes twice counts once: ``np.minimum``, ``np.maximum``
            or ``np.bitwise_or``.

    Returns:
        ``(H - 2 * radius, W - 2 * radius)``; empty if no square fits.
    """
    side = 2 * radius + 1
    if min(values.shape) < side:
        return np.zeros([max(0, n - 2 * radius) for n in values.shape], values.dtype)
    for _ in range(2):
        width = 1
        while width < side:
            step = min(width, side - width)
            values = operation(values[:-step], values[step:])
            width += step
        values = values.T
    return values
