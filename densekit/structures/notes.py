"""How much a note on a result weighs: its beginning says so, on the screen, in the ledger and in a report alike."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

SUSPICIOUS = "suspicious: "
"""Begins a note that doubts the result as a whole."""
CAUTION = "caution: "
"""Begins a note that changes what the result means: something was assumed, repaired or left out."""

_SHOWN = 5


def weighs(note: str) -> bool:
    """Whether a note has to reach who reads the result; routine notes stay in the report and the ledger."""
    return note.startswith((SUSPICIOUS, CAUTION))


def doubt(notes: Iterable[str]) -> str:
    """The first note that doubts the result as a whole, or ``""``."""
    return next((note for note in notes if note.startswith(SUSPICIOUS)), "")


def few_of_each(noted: Iterable[tuple[str, str]]) -> list[str]:
    """One line each for up to five cases with the same note, numbers aside, then how many more there are.

    Args:
        noted: Name of the case and note.
    """
    kinds = defaultdict(list)
    for name, note in noted:
        kinds[re.sub(r"[\d.]+", "", note)].append(f"{name}: {note}")
    lines = []
    for found in kinds.values():
        left = len(found) - _SHOWN
        lines += found[:_SHOWN] + [f"and {left} more like this: see the report"] * (left > 0)
    return lines
