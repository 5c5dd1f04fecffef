"""A data set of images looked at as a whole, whatever its labels: what it holds and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from densekit.errors import DataError
from densekit.structures.findings import Finding


@dataclass(frozen=True)
class Inspection:
    """What ``densekit check`` knows of a data set of images.

    Attributes:
        path: What was checked.
        summary: Plain JSON types: name, format, layout, root, splits, classes, ...
        findings: Errors first, then warnings, then notes.
    """

    path: str
    summary: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @property
    def status(self) -> int:
        """Exit status: 0 sound (warnings allowed), 2 errors."""
        return 2 if any(finding.severity == "error" for finding in self.findings) else 0

    def count(self, severity: str) -> int:
        """Return how many findings have a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def require_sound(self) -> None:
        """Refuse a data set with errors.

        Raises:
            DataError: with the first error and how to see the others.
        """
        errors = [finding for finding in self.findings if finding.severity == "error"]
        if errors:
            first = errors[0]
            place = f", e.g. {first.examples[0].where}" if first.examples else ""
            more = f" ({len(errors) - 1} more kinds of error)" if len(errors) > 1 else ""
            raise DataError(
                f"{self.path}: {first.message}: {first.count}{place}; {first.remedy}{more}; "
                f"`densekit check {self.path}` shows all"
            )
