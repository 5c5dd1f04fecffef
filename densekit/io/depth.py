"""Pixels of more than 8 bits, or in floating point, brought to the 8 bits that networks take.

By the range of the data set, which ``densekit check`` and training find and checkpoints keep; by an image's own range
only where nothing else is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from densekit.errors import DataError

Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest value that become 0 and 255, for pixels of :data:`INTEGER` and of :data:`FLOAT`; images of 8 bits
need none."""

INTEGER, FLOAT = "integer", "float"

_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners deliver in integers of 16."""
_TOPS = (1.0, 255.0)
"""What floating-point images are normalised to."""


def extent(values: np.ndarray) -> tuple[str, float, float]:
    """Return the kind of an image's pixels, their least and their greatest value.

    Raises:
        DataError: if there are pixels that are no numbers.
    """
    if values.dtype.kind != "f":
        return INTEGER, int(values.min()), int(values.max())
    wrong = int(values.size - np.isfinite(values).sum())
    if wrong:
        raise DataError(f"{wrong:,} of {values.size:,} values are NaN or infinite; replace them with a number")
    return FLOAT, float(values.min()), float(values.max())


def common_ranges(extents: Iterable[tuple[str, float, float]]) -> dict[str, tuple[float, float]]:
    """Return the ranges of a data set from the :func:`extent` of each of its deep images."""
    found: dict[str, tuple[float, float]] = {}
    for kind, low, high in extents:
        before = found.get(kind, (low, high))
        found[kind] = min(low, before[0]), max(high, before[1])
    return {kind: _usual(kind, *span) for kind, span in sorted(found.items())}


def _usual(kind: str, low: float, high: float) -> tuple[float, float]:
    """The range that values are likely meant in: the bits of a camera, 0 to 1, 0 to 255; else the values' own."""
    if kind == INTEGER and low >= 0:
        tops = [2**bits - 1 for bits in _DEPTHS]
    else:
        tops = [top for top in _TOPS if high > top / 10] if kind == FLOAT and low >= 0 else []
    return next(((0, top) for top in tops if high <= top), (low, high))


def described(span: tuple[float, float]) -> str:
    """Return a range in words."""
    bits = _bits(span)
    return f"values of {bits} bits (0 to {span[1]:,})" if bits else f"values from {span[0]:,.6g} to {span[1]:,.6g}"


def _bits(span: tuple[float, float]) -> int:
    """Bits of an integer range from 0, 0 for any other range."""
    low, high = span
    return next((b for b in _DEPTHS if isinstance(high, int) and (low, high) == (0, 2**b - 1)), 0)


def to_8_bit(values: np.ndarray, ranges: Ranges | None = None) -> tuple[np.ndarray, str]:
    """Bring the pixels of an image to 8 bits.

    Args:
        values: Of any integer or floating-point type.
        ranges: Those of the training, empty if its images had 8 bits; None: not known.

    Returns:
        uint8 of the same shape, and how it was made in words that are the same for all images of a kind.

    Raises:
        DataError: if there are pixels that are no numbers.
    """
    span, note = span_of(extent(values), ranges)
    return scaled(values, span), note


def span_of(found: tuple[str, float, float], ranges: Ranges | None) -> tuple[tuple[float, float], str]:
    """Which values of an image become 0 and 255, by its :func:`extent`, and why in words; see :func:`to_8_bit`."""
    kind, low, high = found
    own, known = _usual(kind, low, high), (ranges or {}).get(kind)
    if known is None:
        why = "what the training read is not known" if ranges is None else "the training had no such images"
        return own, f"{_alone(kind, own)} are brought to 0-255 by each image's own range: {why}"
    known = tuple(known)
    width = known[1] - known[0]
    if high - low >= 2 * width and (low < known[0] or high > known[1]):
        why = f"the training had {described(known)}"
        return own, f"{_alone(kind, own)} are brought to 0-255 by each image's own range: {why}"
    note = f"{described(known)} are brought to 0-255, as in training"
    if low < known[0] or high > known[1]:
        note += "; what lies beyond is cut off"
    elif 16 * (high - low) <= width:
        note += "; the image uses a sixteenth of them or less: is it of another depth?"
    return known, note


def _alone(kind: str, own: tuple[float, float]) -> str:
    """One image's range in words that other images share."""
    return described(own) if _bits(own) or own[1] in _TOPS else f"{kind} values"


def scaled(values: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Pixels in uint8: the first value of a span becomes 0, the last 255, what lies beyond is cut off."""
    low, high = span
    if bits := _bits(span):
        return (np.clip(values, low, high).astype(np.uint16) >> (bits - 8)).astype(np.uint8)
    share = (np.clip(values, low, high) - np.float64(low)) / max(high - low, np.finfo(np.float64).tiny)
    return np.rint(255 * share).astype(np.uint8)


def rescaled(values: np.ndarray, ranges: Ranges) -> np.ndarray:
    """Bring the pixels of an image to 0-255 by the range of the data set, without rounding them.

    Args:
        values: Of any integer or floating-point type.
        ranges: Of the data set; an image of a kind that it lacks is scaled by its own range.

    Returns:
        float32 of the same shape.

    Raises:
        DataError: if there are pixels that are no numbers.
    """
    kind, *own = extent(values)
    low, high = ranges.get(kind) or _usual(kind, *own)
    scale = 255 / max(high - low, np.finfo(np.float32).tiny)
    return (np.clip(values, low, high).astype(np.float32) - np.float32(low)) * np.float32(scale)
