"""What a run says of the areas of classes over all its images, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from densekit.inference.run import CaseResult
from densekit.inference.tables import relative_names
from densekit.io import atomic_path

AREAS = "areas.csv"

_COLUMNS = ("image", "status", "frames", "class", "pixels", "share", "m2", "ha", "reason")


def shares(pixels: Mapping[str, int]) -> Iterator[tuple[str, int, float]]:
    """Class name, pixels and share of the pixels that have a class, the largest first."""
    total = max(sum(pixels.values()), 1)
    for name, count in sorted(pixels.items(), key=lambda item: -item[1]):
        yield name, count, count / total


def write_areas(out: Path, rows: Sequence[CaseResult]) -> None:
    """Write ``areas.csv``: a row for each image and class that is there; of a video, the pixels of all its frames.

    Square metres and hectares are empty where an image does not say how large a pixel is. A file without a result has
    one row, with the reason.

    Args:
        out: Output folder.
        rows: All cases of the run.

    Raises:
        OutputError: if the file cannot be written.
    """
    files = relative_names([row.case.path for row in rows])
    with atomic_path(out / AREAS) as path, path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        for name, row in zip(files, rows, strict=True):
            table.writerows(_of_case(name, row))


def _of_case(name: str, row: CaseResult) -> Iterator[list[Any]]:
    frames, pixel = row.facts.get("frames", ""), row.facts.get("pixel_m2")
    if not row.facts.get("pixels"):
        yield [name, row.status, frames, *[""] * 5, row.reason or ""]
        return
    for label, count, share in shares(row.facts["pixels"]):
        ground = ["", ""] if pixel is None else [f"{count * pixel:.2f}", f"{count * pixel / 1e4:.4f}"]
        yield [name, row.status, frames, label, count, f"{share:.6f}", *ground, ""]
