"""Where a prediction is wrong: at a border, inside an area that was found, or in an area that was not found."""

from __future__ import annotations

import numpy as np

from densekit.evaluation.segmentation.areas import areas_by_run
from densekit.evaluation.segmentation.borders import near_border, radius_of
from densekit.structures.label_images import IGNORED

KINDS = ("boundary", "confusion", "missed")
"""Kinds of errors; each wrong pixel is of one."""
EDGE = 0.005
"""Share of the image's diagonal within which of a true border an error is one of the boundary."""
FOUND = 0.1
"""Share of its pixels from which on a connected area of one class counts as found."""
_BOUNDARY, _CONFUSION, _MISSED = 1, 2, 3


def error_map(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the kind of error of each pixel.

    A wrong pixel is *missed* if of the connected area of one class in which it lies (8 neighbours) less than
    :data:`FOUND` was labelled right; otherwise it is of the *boundary* if another class of the truth lies within
    :data:`EDGE` of the diagonal (a square around it); and *confusion* in all other cases.

    Args:
        truth: ``(H, W)`` uint8 with :data:`IGNORED`.
        found: The same without.

    Returns:
        ``(H, W)`` uint8: 0 where it is right or ignored, else 1 + the place in :data:`KINDS`.
    """
    wrong = (truth != found) & (truth != IGNORED)
    kinds = wrong.astype(np.uint8) * np.uint8(_CONFUSION)
    if wrong.any():
        near = near_border(truth, radius_of(truth.shape, EDGE), edge=False)
        kinds[wrong & near] = _BOUNDARY
        _mark_missed(kinds, truth, wrong)
    return kinds


def _mark_missed(kinds: np.ndarray, truth: np.ndarray, wrong: np.ndarray) -> None:
    starts, area = areas_by_run(truth)
    lengths = np.diff(starts, append=truth.size)
    mistakes = np.add.reduceat(wrong.ravel(), starts, dtype=np.int64)
    lost = np.bincount(area, mistakes) > (1 - FOUND) * np.bincount(area, lengths)
    kinds[wrong & np.repeat(lost[area], lengths).reshape(truth.shape)] = _MISSED
