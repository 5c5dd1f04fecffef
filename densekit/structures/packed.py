"""A column of values of unequal length in one array of bytes, which may be that of a mapped file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


class Packed(Sequence):
    """Plain values (JSON), each decoded where it is asked for: a million take no time to open.

    Args:
        text: Their JSON, one after the other, uint8 ``(bytes,)``.
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
        """Pack values of plain JSON types; floating-point numbers keep every bit."""
        parts = [
            b""
            if value is None
            else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
            for value in values
        ]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        text = np.frombuffer(b"".join(parts), dtype=np.uint8)
        return cls(text, np.concatenate([[0], ends[:-1]]).astype(np.int64) if parts else ends, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> Any:
        """Return one value, or those of a slice as a column."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        start, end = int(self.starts[index]), int(self.ends[index])
        return json.loads(self.text[start:end].tobytes().decode("utf-8", "surrogatepass")) if end > start else None

    def take(self, places: np.ndarray) -> Packed:
        """Return the column of the values at these places; the bytes are shared."""
        return Packed(self.text, self.starts[places], self.ends[places])

    def present(self) -> np.ndarray:
        """Return which values are not None, bool ``(N,)``."""
        return self.ends > self.starts


def present(values: Sequence[Any]) -> np.ndarray:
    """Return which values of any column are not None, bool ``(N,)``."""
    if isinstance(values, Packed):
        return values.present()
    return np.array([value is not None for value in values], dtype=bool)


def take(values: Sequence[Any], places: np.ndarray) -> Sequence[Any]:
    """Return the values of any column at these places ``(M,)``."""
    if isinstance(values, (Packed, np.ndarray)):
        return values[places] if isinstance(values, np.ndarray) else values.take(places)
    return [values[place] for place in places]
