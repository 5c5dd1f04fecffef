"""The report of a run over images: what was found, how sure, a gallery to look through, and what failed."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from densekit.errors import few
from densekit.visualization.shared.gallery import (
    NAMED,
    FileRow,
    evenly,
    failures,
    file_notes,
    heading,
    setting_rows,
    tile,
)
from densekit.visualization.shared.page import show_duration, write_page
from densekit.visualization.shared.palette import css_color

_ABSENT = 100  # classes named that were not found


@dataclass(frozen=True)
class ImageRow(FileRow):
    """What the report says about one image or video.

    Attributes:
        counts: Class name -> objects from the threshold on. Of a video: of the frame with most of the class.
        scores: Histogram of all scores from 0 to 1, in bars of equal width.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    scores: Sequence[int] = ()


def write_prediction_gallery(
    path: str | os.PathLike,
    *,
    title: str,
    images: Sequence[ImageRow],
    names: Sequence[str],
    threshold: float,
    settings: Mapping[str, Any],
) -> None:
    """Write the report of a run over images and videos as one HTML page.

    Failed files come first, in words; then how files were read, objects by class, a histogram of scores, a gallery
    (evenly chosen if there are many), the settings.

    Args:
        path: The HTML file to write.
        title: Heading.
        images: All that were run, in the order to show them.
        names: Class names by label.
        threshold: Lowest score that counts as found.
        settings: What a reader needs to repeat the run.

    Raises:
        OutputError: if the file cannot be written.
    """
    done = [image for image in images if image.status == "ok"]
    failed = [image for image in images if image.status == "failed"]
    shown = evenly(done)
    write_page(
        path,
        "detection_predictions",
        title=title,
        lead=_lead(done, failed, threshold),
        failed=failures(failed),
        notes=file_notes(done),
        classes=_classes(done, names),
        absent=few([name for name in names if not any(p.counts.get(name) for p in done)], _ABSENT),
        done=len(done),
        videos=any(p.frames is not None for p in done),
        threshold=f"{threshold:.2g}",
        histogram=_bars(done, threshold),
        heading=heading(len(shown), len(done), "What was found"),
        gallery=[_tile(image) for image in shown],
        settings=setting_rows(settings),
    )


def _lead(done: Sequence[ImageRow], failed: Sequence[ImageRow], threshold: float) -> str:
    files = len(done) + len(failed)
    videos = sum(p.frames is not None for p in done)
    objects = sum(sum(p.counts.values()) for p in done if p.frames is None)
    most = sum(sum(p.counts.values()) for p in done if p.frames is not None)
    empty = sum(not any(p.counts.values()) for p in done)
    seconds = sum(p.seconds for p in (*done, *failed))
    text = f"{files:,} file{'s' * (files != 1)}: {len(done):,} predicted"
    text += f" ({videos:,} of them video{'s' * (videos != 1)})" * (videos > 0)
    text += f", {len(failed):,} failed" * bool(failed)
    text += f", in {show_duration(seconds)}."
    text += f" {objects:,} object{'s' * (objects != 1)} with a score from {threshold:.2g} on" * (videos < len(done))
    text += " in the images," * (0 < videos < len(done))
    text += f" {most:,} in the frames of the videos that have most of a class" * (videos > 0)
    text += f", with a score from {threshold:.2g} on" * (0 < videos == len(done))
    return text + (f"; nothing in {empty:,} of the files." if empty else ".")


def _classes(done: Sequence[ImageRow], names: Sequence[str]) -> list[dict[str, Any]]:
    """Classes of which there is one, the most frequent first."""
    counts = [[image.counts.get(name, 0) for image in done] for name in names]
    totals = [sum(row) for row in counts]
    everything, largest = max(sum(totals), 1), max([1, *totals])
    views = [
        {
            "name": name,
            "color": css_color(label + 1),
            "objects": total,
            "found": sum(n > 0 for n in row),
            "most": max(row),
            "part": f"{100 * total / largest:.1f}%",
            "share": f"{100 * total / everything:.1f} %",
        }
        for label, (name, row, total) in enumerate(zip(names, counts, totals, strict=True))
        if total
    ]
    return sorted(views, key=lambda view: -view["objects"])


def _bars(done: Sequence[ImageRow], threshold: float) -> list[dict[str, Any]]:
    totals = [sum(column) for column in zip(*(p.scores for p in done), strict=True)]
    if not any(totals):
        return []
    highest = math.log1p(max(totals))
    bars = []
    for place, count in enumerate(totals):
        low = place / len(totals)
        bars.append(
            {
                "count": f"{count:,}" if count else "",
                # Room for the numbers above and below.
                "height": f"{78 * math.log1p(count) / highest:.1f}%",
                "name": f"{low:.1f}" if place % 2 == 0 else "",
                "below": low + 1 / len(totals) <= threshold + 1e-9,
            }
        )
    return bars


def _tile(image: ImageRow) -> dict[str, Any]:
    found = sorted(((n, name) for name, n in image.counts.items() if n), reverse=True)
    words = ", ".join(f"{n:,} {name}" for n, name in found[:NAMED])
    words += f" and {sum(n for n, _ in found[NAMED:]):,} others" if len(found) > NAMED else ""
    if image.frames is not None:
        words = f"{image.frames:,} frames, at most {words} at once" if words else f"{image.frames:,} frames, nothing"
    return tile(image, words or "nothing")
