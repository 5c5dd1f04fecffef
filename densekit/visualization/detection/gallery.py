"""The report of a run over images: what was found, how sure, a gallery to look through, and what failed."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from PIL import Image

from densekit.errors import few
from densekit.visualization.shared.page import show_duration, write_page
from densekit.visualization.shared.palette import css_color
from densekit.visualization.shared.thumbnails import data_uri

TILE = (440, 330)
"""Width and height of a picture in the gallery, at most."""
_SHOWN = 120  # pictures in the gallery: the page stays small enough to be sent by mail
_NAMED = 5  # files named at a note, classes named below a picture
_ABSENT = 100  # classes named that were not found


@dataclass(frozen=True)
class ImageRow:
    """What the report says about one image or video.

    Attributes:
        name: File name, with as many folders as tell it apart.
        status: ``"ok"`` or ``"failed"``.
        reason: Why it failed, in one line; None if it did not.
        counts: Class name -> objects from the threshold on. Of a video: of the frame with most of the class.
        scores: Histogram of all scores from 0 to 1, in bars of equal width.
        frames: Frames of a video, None for an image.
        notes: How the file was read, where that is not obvious.
        seconds: How long it took.
        link: Path of the drawn picture or video from the report, POSIX.
        thumbnail: Returns the small drawn picture, None if it cannot be made; called for those that are shown.
    """

    name: str
    status: Literal["ok", "failed"]
    reason: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    scores: Sequence[int] = ()
    frames: int | None = None
    notes: Sequence[str] = ()
    seconds: float = 0.0
    link: str = ""
    thumbnail: Callable[[], Image.Image | None] = lambda: None


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
    shown = _evenly(done, _SHOWN)
    write_page(
        path,
        "detection_predictions",
        title=title,
        lead=_lead(done, failed, threshold),
        failed=[{"id": p.name, "reason": _reason(p), "notes": p.notes} for p in failed],
        notes=_notes(done),
        classes=_classes(done, names),
        absent=few([name for name in names if not any(p.counts.get(name) for p in done)], _ABSENT),
        done=len(done),
        videos=any(p.frames is not None for p in done),
        threshold=f"{threshold:.2g}",
        histogram=_bars(done, threshold),
        heading="What was found" if len(shown) == len(done) else f"{len(shown)} of {len(done):,} files, evenly chosen",
        gallery=[_tile(image) for image in shown],
        settings=[(name, _words(value)) for name, value in settings.items()],
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


def _reason(row: ImageRow) -> str:
    """Why a file failed, without its name, which stands before it."""
    reason = row.reason or "no reason was given"
    file, _, rest = reason.partition(": ")
    return rest if rest and file.endswith(row.name) else reason


def _notes(done: Sequence[ImageRow]) -> list[str]:
    """Each note once, with how many files it is about and the first of them."""
    files: dict[str, list[str]] = defaultdict(list)
    for image in done:
        for note in image.notes:
            files[note].append(image.name)
    sentences = []
    for note, names in files.items():
        counted = f"{len(names):,} files, " if len(names) > 1 else ""
        sentences.append(f"{note[:1].upper()}{note[1:]} ({counted}{few(names, _NAMED)})")
    return sentences


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
    small = image.thumbnail()
    found = sorted(((n, name) for name, n in image.counts.items() if n), reverse=True)
    words = ", ".join(f"{n:,} {name}" for n, name in found[:_NAMED])
    words += f" and {sum(n for n, _ in found[_NAMED:]):,} others" if len(found) > _NAMED else ""
    if image.frames is not None:
        words = f"{image.frames:,} frames, at most {words} at once" if words else f"{image.frames:,} frames, nothing"
    name = image.name.rpartition("/")[2]
    return {
        "data": None if small is None else data_uri(small),
        "name": image.name,
        "short": name if len(name) <= 36 else f"{name[:16]}…{name[-16:]}",
        "words": words or "nothing",
        "link": quote(image.link.encode("utf-8", "surrogateescape")),
    }


def _evenly(items: Sequence[ImageRow], limit: int) -> list[ImageRow]:
    if len(items) <= limit:
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


def _words(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "; ".join(_words(item) for item in value) if isinstance(value, (list, tuple)) else str(value)
