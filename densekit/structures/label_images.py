"""Label images: ``(H, W)`` uint8, the class of each pixel from 0 on."""

from __future__ import annotations

import numpy as np

IGNORED = 255
"""A pixel without a class: neither trained on nor scored."""
MOST_CLASSES = 255
"""Classes that a label image can tell apart, beside :data:`IGNORED`."""

_PIXELS = 1 << 20
"""Counted at a time: numpy makes eight bytes of each."""


def label_counts(labels: np.ndarray) -> dict[int, int]:
    """Number of pixels of each class that is there, in the order of the classes; :data:`IGNORED` is none."""
    flat = np.ascontiguousarray(labels).ravel()
    counts = np.zeros(256, np.int64)
    for first in range(0, flat.size, _PIXELS):
        counts += np.bincount(flat[first : first + _PIXELS], minlength=256)
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts) if label != IGNORED}
