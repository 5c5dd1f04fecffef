"""A column of values of unequal length in one array of bytes, which may be that of a mapped file."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_POLYGONS = b"P"  # no JSON begins with it


class Packed(Sequence):
    """Plain values (of JSON), each decoded where it is asked for: a million take no time to open.

    Polygons ``[[x1, y1, x2, y2, ...], ...]`` are float64 in the bytes, several times as fast to read as text; other
    values are JSON. Numbers keep every bit, but whole numbers in polygons become floating-point ones.

    Args:
        text: The values, one after the other, uint8 ``(bytes,)``.
        starts: Where each begins, int64 ``(N,)``.
        ends: Where each ends; where it begins for None.

    Raises:
        ValueError: if a value would lie outside ``text``.
    """

    def __init__(self, text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        if len(starts) != len(ends) or (len(starts) and not 0 <= starts.min() <= ends.max() <= len(text)):
            raise ValueError(f"{len(starts)} values do not lie in {len(text)} bytes")
        self.text, self.starts, self.ends = text, starts, ends

    @classmethod
    def of(cls, values: Iterable[Any]) -> Packed:
        """Pack values."""
        parts = [b"" if value is None else _encoded(value) for value in values]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return cls.between(np.frombuffer(b"".join(parts), dtype=np.uint8), ends)

    @classmethod
    def between(cls, text: np.ndarray, ends: np.ndarray) -> Packed:
        """From values that follow one another without a gap."""
        return cls(text, np.concatenate([np.zeros(1, np.int64), ends])[:-1], ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> Any:
        """Return one value, or those of a slice as a column."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        start, end = self.starts.item(index), self.ends.item(index)
        return _decoded(self.text[start:end].tobytes()) if end > start else None

    def take(self, places: np.ndarray) -> Packed:
        """Return the column of the values at these places; the bytes are shared."""
        return Packed(self.text, self.starts[places], self.ends[places])

    def present(self) -> np.ndarray:
        """Return which values are not None, bool ``(N,)``."""
        return self.ends > self.starts


def _encoded(value: Any) -> bytes:
    if isinstance(value, list) and value and all(isinstance(part, list) for part in value):
        try:
            lengths = array("I", [len(value), *map(len, value)])
            return _POLYGONS + lengths.tobytes() + array("d", [v for part in value for v in part]).tobytes()
        except TypeError:  # no numbers
            pass
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _decoded(content: bytes) -> Any:
    if content[:1] != _POLYGONS:
        return json.loads(content.decode("utf-8", "surrogatepass"))
    count = int.from_bytes(content[1:5], sys.byteorder)
    if count == 1:
        return [array("d", content[9:]).tolist()]
    lengths, numbers = array("I", content[5 : 5 + 4 * count]), array("d", content[5 + 4 * count :]).tolist()
    ends = np.cumsum(lengths).tolist()
    return [numbers[end - length : end] for length, end in zip(lengths, ends, strict=True)]


def present(values: Sequence[Any]) -> np.ndarray:
    """Return which values of any column are not None, bool ``(N,)``."""
    if isinstance(values, Packed):
        return values.present()
    return np.array([value is not None for value in values], dtype=bool)


def take(values: Sequence[Any], places: np.ndarray) -> Sequence[Any]:
    """Return the values of any column at these places ``(M,)``."""
    if isinstance(values, np.ndarray):
        return values[places]
    return values.take(places) if isinstance(values, Packed) else [values[place] for place in places]
