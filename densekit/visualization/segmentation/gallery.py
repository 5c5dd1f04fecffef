"""The report of a run that segmented images: areas by class, a gallery to look through, and what failed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from densekit.errors import few
from densekit.visualization.segmentation.drawing import class_color
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

_ABSENT = 100  # classes named that were not found


@dataclass(frozen=True)
class ImageRow(FileRow):
    """What the report says about one image or video.

    Attributes:
        pixels: Class name -> pixels; of a video of all its frames.
        pixel_m2: Area of a pixel on the ground in square metres; None: not known.
    """

    pixels: Mapping[str, int] = field(default_factory=dict)
    pixel_m2: float | None = None

    def share(self, name: str) -> float:
        """Of the pixels that have a class."""
        return self.pixels.get(name, 0) / max(sum(self.pixels.values()), 1)


def write_prediction_gallery(
    path: str | os.PathLike,
    *,
    title: str,
    images: Sequence[ImageRow],
    names: Sequence[str],
    colours: Sequence[Sequence[int]] | None,
    settings: Mapping[str, Any],
) -> None:
    """Write the report of a run over images and videos as one HTML page.

    Failed files come first, in words; then how files were read, areas by class, a gallery (evenly chosen if there are
    many), the settings.

    Args:
        path: The HTML file to write.
        title: Heading.
        images: All that were run, in the order to show them.
        names: Class names by label.
        colours: A colour of each class; None: the palette's.
        settings: What a reader needs to repeat the run.

    Raises:
        OutputError: if the file cannot be written.
    """
    done = [image for image in images if image.status == "ok"]
    failed = [image for image in images if image.status == "failed"]
    shown, ground = evenly(done), sum(image.pixel_m2 is not None for image in done)
    write_page(
        path,
        "segmentation_predictions",
        title=title,
        lead=_lead(done, failed),
        failed=failures(failed),
        notes=file_notes(done),
        classes=_classes(done, names, colours),
        absent=few([name for name in names if not any(p.pixels.get(name) for p in done)], _ABSENT),
        done=len(done),
        ground=f"{ground:,} file{'s' * (ground != 1)}" if ground else "",
        videos=any(p.frames is not None for p in done),
        heading=heading(len(shown), len(done), "What was found"),
        gallery=[tile(image, _words(image)) for image in shown],
        settings=setting_rows(settings),
    )


def _lead(done: Sequence[ImageRow], failed: Sequence[ImageRow]) -> str:
    files, videos = len(done) + len(failed), sum(p.frames is not None for p in done)
    text = f"{files:,} file{'s' * (files != 1)}: {len(done):,} predicted"
    text += f" ({videos:,} of them video{'s' * (videos != 1)})" * (videos > 0)
    text += f", {len(failed):,} failed" * bool(failed)
    return text + f", in {show_duration(sum(p.seconds for p in (*done, *failed)))}."


def _classes(
    done: Sequence[ImageRow], names: Sequence[str], colours: Sequence[Sequence[int]] | None
) -> list[dict[str, Any]]:
    """Classes that are there, the largest first."""
    totals = [sum(p.pixels.get(name, 0) for p in done) for name in names]
    everything, largest = max(sum(totals), 1), max([1, *totals])
    views = [
        {
            "name": name,
            "color": "#{:02x}{:02x}{:02x}".format(*class_color(label, colours)),
            "pixels": total,
            "ha": sum(p.pixels.get(name, 0) * (p.pixel_m2 or 0) for p in done) / 1e4,
            "found": sum(p.pixels.get(name, 0) > 0 for p in done),
            "most": max(p.share(name) for p in done),
            "part": f"{100 * total / largest:.1f}%",
            "share": f"{100 * total / everything:.1f} %",
        }
        for label, (name, total) in enumerate(zip(names, totals, strict=True))
        if total
    ]
    return sorted(views, key=lambda view: -view["pixels"])


def _words(image: ImageRow) -> str:
    found = sorted(image.pixels, key=lambda name: -image.pixels[name])
    words = ", ".join(f"{name} {image.share(name):.0%}" for name in found[:NAMED])
    words += f" and {len(found) - NAMED} smaller ones" if len(found) > NAMED else ""
    return (f"{image.frames:,} frames, " if image.frames is not None else "") + (words or "no class")
