"""What collects the findings of a check, whatever kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from densekit.structures.findings import Example, Finding

EXAMPLES = 3
"""So many places are shown of each finding; all are counted."""


class Kind(NamedTuple):
    """One check: how serious, what it says, and what to do about it."""

    severity: str
    message: str
    remedy: str


_SEVERITIES = ("error", "warning", "note")


@dataclass
class _Tally:
    message: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)


class Collected:
    """Collects findings of the known kinds while data are read and checked: all are counted, a few places kept."""

    kinds: Mapping[str, Kind]
    """By code, in the order of the report; a subclass says."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], _Tally] = {}

    @classmethod
    def of(cls, listed: Iterable[Finding]) -> Collected:
        """Go on collecting where another collector stopped."""
        findings = cls()
        for f in listed:
            findings._tallies[f.code, f.message] = _Tally(f.message, f.count, list(f.examples))
        return findings

    def add(self, code: str, *examples: Example | str, count: int | None = None, message: str = "") -> None:
        """Count one finding per example, or ``count``.

        Args:
            code: Key of :attr:`kinds`.
            examples: Places; text alone is a place without an image.
            count: How many there are, if not all are given as examples. 0 adds nothing.
            message: Replaces the kind's message, with figures of this data set in it.
        """
        count = len(examples) if count is None else count
        if count == 0:
            return
        message = message or self.kinds[code].message
        tally = self._tallies.setdefault((code, message), _Tally(message))
        tally.count += count
        for example in examples[: EXAMPLES - len(tally.examples)]:
            tally.examples.append(Example(example) if isinstance(example, str) else example)

    def rows(self, code: str, rows: Sequence[int], place: Callable[[int], Example | str], message: str = "") -> None:
        """Count one finding per row; ``place`` makes the examples, for the first rows only."""
        rows = list(rows)
        self.add(code, *(place(row) for row in rows[:EXAMPLES]), count=len(rows), message=message)

    def listed(self) -> tuple[Finding, ...]:
        """Return all findings, the serious ones first."""
        order = {code: place for place, code in enumerate(self.kinds)}
        found = [
            Finding(self.kinds[code].severity, "", t.message, code, t.count, self.kinds[code].remedy, tuple(t.examples))
            for (code, _), t in self._tallies.items()
        ]
        return tuple(sorted(found, key=lambda f: (_SEVERITIES.index(f.severity), order[f.code])))
