"""What ``densekit check`` prints of images, whatever their labels: tables, findings, the verdict; and its JSON."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from densekit.datasets.shared.inspection import Inspection
from densekit.structures.findings import Finding


def screen_width() -> int:
    """Columns of the terminal, at most 120."""
    return min(120, shutil.get_terminal_size((100, 24)).columns)


def counted(inspection: Inspection, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the JSON file holds: the verdict, a summary in plain types, and the findings."""
    return {
        "path": inspection.path,
        "status": inspection.status,
        "errors": inspection.count("error"),
        "warnings": inspection.count("warning"),
        **summary,
        "findings": [asdict(finding) for finding in inspection.findings],
    }


def verdict(inspection: Inspection) -> str:
    """Return the last line: can it be trained on, and how much was found."""
    counts = ", ".join(
        f"{inspection.count(severity)} {severity}{'' if inspection.count(severity) == 1 else 's'}"
        for severity in ("error", "warning", "note")
    )
    words = "cannot be trained on as it is" if inspection.status else "sound"
    return f"{inspection.path}: {words}; {counts}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of which is the heading, in columns; the first column is aligned to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def rendered(finding: Finding, width: int) -> str:
    """Return a finding with its count, examples and remedy."""
    count = f": {finding.count:,}" if finding.count > 1 or finding.examples else ""
    lines = [wrap(f"{finding.severity.upper()}  {finding.message}{count}", width, hang=4)]
    lines += [wrap(f"  e.g. {example.where}", width, hang=7) for example in finding.examples]
    if finding.remedy:
        lines.append(wrap(f"  ->   {finding.remedy}", width, hang=7))
    return "\n".join(lines)


def wrap(text: str, width: int, hang: int = 2) -> str:
    """Return a text in lines of at most ``width``; paths are not broken."""
    return textwrap.fill(text, width, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False)
