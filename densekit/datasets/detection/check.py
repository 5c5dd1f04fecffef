"""``densekit check`` for detection data: a table on the screen and JSON."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from densekit.datasets.detection.inspection import AUTO, SIDES, Inspection, inspect_detection
from densekit.io.atomic import write_json_atomic
from densekit.structures.findings import Finding

CLASSES_SHOWN = 25


def check_detection(
    path: str | Path,
    *,
    json_path: str | Path | None = None,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int | None = 0,
    input_size: tuple[int, int] = (1333, 800),
    cache: str | Path | None = AUTO,
) -> Inspection:
    """Check a detection data set and print what was found.

    Args:
        path: Folder, COCO JSON or data.yaml.
        json_path: JSON to write, for other programs.
        format, classes, seed, input_size, cache: As in
            :func:`densekit.datasets.detection.inspection.inspect_detection`.

    Returns:
        What was found; ``densekit.visualization.detection.dataset_report`` makes a page of it.

    Raises:
        DataError: if there is no data set, or its files cannot be read at all.
        ConfigError: if ``classes`` or ``format`` cannot be right.
        OutputError: if a file cannot be written.
    """
    inspection = inspect_detection(path, format=format, classes=classes, seed=seed, input_size=input_size, cache=cache)
    print(render(inspection))
    if json_path:
        write_json_atomic(json_path, to_json(inspection))
    return inspection


def to_json(inspection: Inspection) -> dict[str, Any]:
    """Return what the JSON file holds."""
    summary = {key: value for key, value in inspection.summary.items() if key != "gallery"}
    return {
        "path": inspection.path,
        "status": inspection.status,
        "errors": inspection.count("error"),
        "warnings": inspection.count("warning"),
        **summary,
        "findings": [asdict(finding) for finding in inspection.findings],
    }


def render(inspection: Inspection, *, width: int | None = None) -> str:
    """Return the table for the screen.

    Args:
        inspection: What was found.
        width: Columns; None: those of the terminal, at most 120.
    """
    width = width or min(120, shutil.get_terminal_size((100, 24)).columns)
    summary = inspection.summary
    blocks = [
        _wrap(f"{summary['name']}: {summary['layout']}", width),
        _table(_split_rows(summary)),
        _table(_class_rows(summary)),
        _sizes(summary),
        *(_render_finding(finding, width) for finding in inspection.findings),
        _verdict(inspection),
    ]
    return "\n\n".join(blocks)


def _verdict(inspection: Inspection) -> str:
    counted = ", ".join(
        f"{inspection.count(severity)} {severity}{'' if inspection.count(severity) == 1 else 's'}"
        for severity in ("error", "warning", "note")
    )
    verdict = "cannot be trained on as it is" if inspection.status else "sound"
    return f"{inspection.path}: {verdict}; {counted}"


def _split_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    rows = [["split", "images", "background", "objects"]]
    for split, counts in summary["splits"].items():
        rows.append([split, *(f"{counts[key]:,}" for key in ("images", "background", "objects"))])
    return rows


def _class_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    splits = list(summary["splits"])
    classes = sorted(summary["classes"], key=lambda c: -sum(c["objects"].values()))
    rows = [["class", *splits, "median side, px"]]
    for entry in classes[:CLASSES_SHOWN]:
        side = "–" if entry["median_side"] is None else f"{entry['median_side']:.0f}"
        rows.append([entry["name"], *(f"{entry['objects'][split]:,}" for split in splits), side])
    if len(classes) > CLASSES_SHOWN:
        rest = classes[CLASSES_SHOWN:]
        sums = (f"{sum(entry['objects'][split] for entry in rest):,}" for split in splits)
        rows.append([f"and {len(rest)} more", *sums, ""])
    return rows


def _sizes(summary: Mapping[str, Any]) -> str:
    """Return the histogram of object sizes as the network sees them."""
    long, short = summary["input_size"]
    names = [f"< {SIDES[0]}", *(f"{a}-{b}" for a, b in pairwise(SIDES)), f"> {SIDES[-1]}"]
    rows = [["side", *names], ["objects", *(f"{n:,}" for n in summary["seen_sides"])]]
    return f"objects by side in pixels if images are fitted into {long} x {short}\n{_table(rows)}"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def _render_finding(finding: Finding, width: int) -> str:
    count = f": {finding.count:,}" if finding.count > 1 or finding.examples else ""
    lines = [_wrap(f"{finding.severity.upper()}  {finding.message}{count}", width, hang=4)]
    lines += [_wrap(f"  e.g. {example.where}", width, hang=7) for example in finding.examples]
    if finding.remedy:
        lines.append(_wrap(f"  ->   {finding.remedy}", width, hang=7))
    return "\n".join(lines)


def _wrap(text: str, width: int, hang: int = 2) -> str:
    return textwrap.fill(text, width, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False)
