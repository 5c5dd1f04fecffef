"""Voxel counts of a prediction against a reference, all classes in one pass."""

from __future__ import annotations

import numpy as np


def confusion_counts(prediction: np.ndarray, reference: np.ndarray, classes: int) -> np.ndarray:
    """Count the voxels of every pair (reference class, predicted class).

    Args:
        prediction: Label map ``(D, H, W)`` of integers in ``[0, classes)``.
        reference: Label map of the same shape and range.
        classes: Number of classes, background included.

    Returns:
        Counts ``(classes, classes)`` int64, ``counts[r, p]``; row sums are the sizes in the reference, column sums
        those in the prediction.
    """
    counts = np.zeros(classes * classes, dtype=np.int64)
    # Slice by slice: the index of a whole scan would need eight bytes a voxel.
    for predicted, truth in zip(prediction, reference, strict=True):
        pairs = truth.astype(np.intp).ravel() * classes + predicted.astype(np.intp).ravel()
        counts += np.bincount(pairs, minlength=classes * classes)
    return counts.reshape(classes, classes)
