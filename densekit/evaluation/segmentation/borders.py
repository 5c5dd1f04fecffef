"""Pixels near a border between classes, of all classes at once."""

from __future__ import annotations

import math

import cv2
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
    smallest = cv2.erode(labels, _square(radius))
    near = smallest != widened(np.where(labels == IGNORED, np.uint8(0), labels), radius)
    for side in (near, near[::-1], near.T, near.T[::-1]):
        side[:radius] = True
    return near


def widened(values: np.ndarray, radius: int) -> np.ndarray:
    """The largest of the values ``(H, W)`` uint8 in a square of ``2 * radius + 1`` around each pixel."""
    return cv2.dilate(values, _square(radius))


def _square(radius: int) -> np.ndarray:
    return np.ones((2 * radius + 1,) * 2, np.uint8)
