"""``densekit check`` for label images: a table on the screen and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from densekit.datasets.segmentation.inspection import CROP, INPUT_SIZE, SegmentationInspection, inspect_segmentation
from densekit.datasets.shared.cache import AUTO
from densekit.datasets.shared.check_table import counted, rendered, screen_width, table, verdict, wrap
from densekit.io.atomic import write_json_atomic

CLASSES_SHOWN = 25


def check_segmentation(
    path: str | Path,
    *,
    json_path: str | Path | None = None,
    format: str | None = None,
    classes: Any = None,
    seed: int | None = 0,
    input_size: tuple[int, int] = INPUT_SIZE,
    crop: tuple[int, int] = CROP,
    cache: str | Path = AUTO,
) -> SegmentationInspection:
    """Check a data set of label images and print what was found.

    Args:
        path: Its folder.
        json_path: JSON to write, for other programs.
        format, classes, seed, input_size, crop, cache: As in
            :func:`densekit.datasets.segmentation.inspection.inspect_segmentation`.

    Returns:
        What was found; ``densekit.visualization.segmentation.dataset_report`` makes a page of it.

    Raises:
        DataError: if there is no data set, or its files cannot be read at all.
        ConfigError: if ``format`` or ``classes`` cannot be right.
        OutputError: if a file cannot be written.
    """
    inspection = inspect_segmentation(
        path, format=format, classes=classes, seed=seed, input_size=input_size, crop=crop, cache=cache
    )
    print(render(inspection))
    if json_path:
        summary = {key: value for key, value in inspection.summary.items() if key != "gallery"}
        write_json_atomic(json_path, counted(inspection, summary))
    return inspection


def render(inspection: SegmentationInspection, *, width: int | None = None) -> str:
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
        *_class_table(summary),
        *(rendered(finding, width) for finding in inspection.findings),
        verdict(inspection),
    ]
    return "\n\n".join(blocks)


def percent(part: float, whole: float) -> str:
    """Return a share in words: ``"12.3 %"``, ``"0.04 %"``, ``"–"`` for nothing."""
    share = 100 * part / whole if whole else 0.0
    return (
        "–" if not share else f"{share:.1f} %" if share >= 0.1 else f"{share:.1g} %" if share >= 0.001 else "< 0.001 %"
    )


def class_rows(summary: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return label and entry of each class, those with most pixels first."""
    return sorted(enumerate(summary["classes"]), key=lambda item: -sum(item[1]["pixels"].values()))


def labelled(summary: Mapping[str, Any], split: str) -> int:
    """Pixels of a split that have a class."""
    return summary["splits"][split]["pixels"] - summary["splits"][split]["ignored"]


def _split_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    rows = [["split", "images", "without a class", "pixels without a class"]]
    for split, counts in summary["splits"].items():
        ignored = percent(counts["ignored"], counts["pixels"])
        rows.append([split, f"{counts['images']:,}", f"{counts['unlabelled']:,}", ignored])
    return rows


def _class_table(summary: Mapping[str, Any]) -> list[str]:
    splits, classes = list(summary["splits"]), class_rows(summary)
    if not splits or not classes:
        return []
    rows = [["class", *(f"{split}: {what}" for split in splits for what in ("pixels", "images"))]]

    def cells(entries: Sequence[Mapping[str, Any]]) -> list[str]:
        row = []
        for split in splits:
            row.append(percent(sum(entry["pixels"][split] for entry in entries), labelled(summary, split)))
            row.append(f"{entries[0]['images'][split]:,}" if len(entries) == 1 else "")
        return row

    rows += [[entry["name"], *cells([entry])] for _, entry in classes[:CLASSES_SHOWN]]
    rest = [entry for _, entry in classes[CLASSES_SHOWN:]]
    if rest:
        rows.append([f"and {len(rest)} more", *cells(rest)] if len(rest) > 1 else [rest[0]["name"], *cells(rest)])
    return [table(rows)]
