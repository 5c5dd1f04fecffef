"""Label values of a file as those of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from densekit.errors import DataError


def stored_labels(
    labels: np.ndarray, names: Sequence[str], remap: Mapping[int, int] | None, path: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Check the values of a raw label map and bring them to the stored ones.

    Args:
        labels: ``(D, H, W)`` of an unsigned integer type, as read.
        names: Class names by stored value.
        remap: Raw value -> stored value; None: as they are.
        path: Where it was read, for the message.

    Returns:
        ``(D, H, W)`` uint8 (uint16 above 256 classes), and the number of voxels of each class.

    Raises:
        DataError: if a value is not in the class list (not a key of ``remap``).
    """
    found = _count_values(labels)
    stored = {value: value for value in range(len(names))} if remap is None else remap
    strange = [f"{value} ({count} voxels)" for value, count in found.items() if value not in stored]
    if strange:
        classes = ", ".join(f"{raw} {names[value]}" for raw, value in sorted(stored.items())[:20])
        raise DataError(
            f"{path}: has label value{'s' if len(strange) > 1 else ''} {', '.join(strange[:8])}"
            f"{' ...' if len(strange) > 8 else ''}, expected {classes}{' ...' if len(stored) > 20 else ''}; give the "
            f"class list or encoding of these files, or correct the file"
        )
    table = np.zeros(max(found) + 1, dtype=np.uint8 if len(names) <= 256 else np.uint16)
    counts = np.zeros(len(names), dtype=np.int64)
    for value, count in found.items():
        table[value] = stored[value]
        counts[stored[value]] += count
    return np.take(table, labels), counts


def _count_values(labels: np.ndarray) -> dict[int, int]:
    """Return how many voxels have each value, in ascending order."""
    if labels.dtype.itemsize > 2:
        values, counts = np.unique(labels, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    # plane by plane, because bincount works on an int64 copy
    counts = sum(np.bincount(plane.ravel(), minlength=1 << 8 * labels.dtype.itemsize) for plane in labels)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
