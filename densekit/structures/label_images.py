"""Label images: ``(H, W)`` uint8, the class of each pixel from 0 on."""

from __future__ import annotations

import numpy as np

IGNORED = 255
"""A pixel without a class: neither trained on nor scored."""
MOST_CLASSES = 255
"""Classes that a label image can tell apart, beside :data:`IGNORED`."""


def label_counts(labels: np.ndarray) -> dict[int, int]:
    """Number of pixels of each class that is there, in the order of the classes; :data:`IGNORED` is none."""
    counts = value_counts(labels)
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts) if label != IGNORED}


def value_counts(labels: np.ndarray) -> np.ndarray:
    """Number of pixels of each value of a label image, ``(256,)`` of int64; counted by stretches of one value."""
    flat = labels.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)[: flat.size]
    return np.bincount(flat[ends], np.diff(ends, prepend=-1), 256).astype(np.int64)
