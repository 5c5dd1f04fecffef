"""``densekit check`` for detection data: a table on the screen and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from densekit.datasets.detection.inspection import AUTO, SIDES, Inspection, inspect_detection
from densekit.datasets.shared.check_table import counted, rendered, screen_width, table, verdict, wrap
from densekit.io.atomic import write_json_atomic

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
    return counted(inspection, summary)


def render(inspection: Inspection, *, width: int | None = None) -> str:
    """Return the table for the screen.

    Args:
        inspection: What was found.
        width: Columns; None: those of the terminal, at most 120.
    """
    width = width or screen_width()
    summary = inspection.summary
    blocks = [
        wrap(f"{summary['name']}: {summary['layout']}", width),
        table(_split_rows(summary)),
        table(_class_rows(summary)),
        _sizes(summary),
        *(rendered(finding, width) for finding in inspection.findings),
        verdict(inspection),
    ]
    return "\n\n".join(blocks)


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
    return f"objects by side in pixels if images are fitted into {long} x {short}\n{table(rows)}"
