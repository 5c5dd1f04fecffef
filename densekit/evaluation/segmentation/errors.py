"""Where a prediction is wrong: at a border, in an area that was found in part, or in one that was not found."""

from __future__ import annotations

import cv2
import numpy as np

from densekit.evaluation.segmentation.areas import areas_by_run
from densekit.evaluation.segmentation.borders import over_squares, radius_of
from densekit.structures.label_images import IGNORED

KINDS = ("boundary", "confusion", "missed")
"""Kinds of errors; each wrong pixel is of one."""
EDGE = 0.005
"""Share of the image's diagonal: if the class found is there as near as that, the error is one of the boundary."""
FOUND = 0.1
"""Share of its pixels from which on a connected area of one class counts as found."""
_BOUNDARY, _CONFUSION, _MISSED = 1, 2, 3


def error_map(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the kind of error of each pixel.

    A wrong pixel is *missed* if of the connected area of one class in which it lies (8 neighbours) less than
    :data:`FOUND` was labelled right. Otherwise it is of the *boundary* if the class found is there within :data:`EDGE`
    of the diagonal (a square around it), so that only the border lies askew; and *confusion* in all other cases.

    Args:
        truth: ``(H, W)`` uint8 with :data:`IGNORED`.
        found: The same without.

    Returns:
        ``(H, W)`` uint8: 0 where it is right or ignored, else 1 + the place in :data:`KINDS`.
    """
    wrong = (truth != found) & (truth != IGNORED)
    kinds = wrong.astype(np.uint8) * np.uint8(_CONFUSION)
    if wrong.any():
        starts, area = areas_by_run(truth)
        np.copyto(kinds, _BOUNDARY, where=wrong & _found_nearby(truth, found, np.unique(truth.ravel()[starts])))
        np.copyto(kinds, _MISSED, where=wrong & _not_found(wrong, starts, area))
    return kinds


def _found_nearby(truth: np.ndarray, found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where the class found is also in the truth, which has these labels, a little beside."""
    radius, nearby = radius_of(truth.shape, EDGE), np.zeros(truth.shape, bool)
    for first in range(0, len(labels), 8):  # as many as a byte has bits
        bits = np.zeros(256, np.uint8)
        bits[labels[first : first + 8]] = 1 << np.arange(len(labels[first : first + 8]))
        around = over_squares(np.pad(cv2.LUT(truth, bits), radius), radius, np.bitwise_or)
        nearby |= (cv2.LUT(found, bits) & around) > 0
    return nearby


def _not_found(wrong: np.ndarray, starts: np.ndarray, area: np.ndarray) -> np.ndarray:
    """The areas of which less than :data:`FOUND` was labelled right; see :func:`areas_by_run`."""
    lengths = np.diff(starts, append=wrong.size)
    mistakes = np.add.reduceat(wrong.ravel().view(np.uint8), starts, dtype=np.int64)
    lost = np.bincount(area, mistakes) > (1 - FOUND) * np.bincount(area, lengths)
    return np.repeat(lost[area], lengths).reshape(wrong.shape)
