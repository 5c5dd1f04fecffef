"""Images with a class for each pixel: light areas with outlines, and a legend of the classes that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from densekit.errors import DataError
from densekit.structures.label_images import IGNORED
from densekit.visualization.shared.overlay import overlay
from densekit.visualization.shared.palette import Color, label_color
from densekit.visualization.shared.sheet import (
    FAINT,
    MARGIN,
    SMALL,
    below,
    fitting,
    framed,
    legend,
    one_line,
    text_block,
)
from densekit.visualization.shared.thumbnails import open_upright

if TYPE_CHECKING:
    from densekit.datasets.segmentation import PreparedSegmentation

_FILL = 0.45
"""Opacity of areas: a class for each pixel leaves nothing uncovered beside which a fainter one would stand out."""
_ROWS = 480
"""Drawn at a time, so that a large image needs little memory; a multiple of every outline's pattern."""
_HALO = 2
"""Rows on each side that an outline depends on."""
_NAMED = 40
"""Classes in a legend, at most."""


def class_color(label: int, colours: Sequence[Sequence[int]] | None = None) -> Color:
    """The colour of a class as ``(red, green, blue)``: the data set's own, or the palette's."""
    return tuple(int(v) for v in colours[label]) if colours is not None else label_color(label + 1)


def draw_segmentation(
    image: Image.Image,
    labels: np.ndarray,
    names: Sequence[str],
    colours: Sequence[Sequence[int]] | None = None,
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """Return an image with the area of each class in its colour, and outlines between them.

    Args:
        image: RGB.
        labels: ``(H, W)`` uint8, index into ``names``; what is :data:`IGNORED`, or of a class called background, is
            left as it is. Of another size than the image's it is stretched over it.
        names: Class names.
        colours: A colour ``(red, green, blue)`` of each class; None: the palette's.
        size: Width and height of the result, at most; the picture is enlarged three times at most. None: as it is.
    """
    shown = np.array((fitting(image, size) if size else image).convert("RGB"))
    if labels.shape != shown.shape[:2]:
        labels = np.asarray(Image.fromarray(labels).resize(shown.shape[1::-1], Image.Resampling.NEAREST))
    values = np.where(np.isin(labels, [IGNORED, *_plain(names)]), 0, labels.astype(np.uint16) + 1)
    count = max(len(names), int(values.max(initial=0)))
    own = range(len(colours)) if colours is not None else ()
    colors = np.array([(0, 0, 0), *(class_color(i, colours if i in own else None) for i in range(count))])
    source = shown.copy()
    for top in range(0, len(shown), _ROWS):
        # with rows above whose number keeps the pattern of dashes in step
        first, last = max(top - _ROWS // 10, 0), min(top + _ROWS + _HALO, len(shown))
        drawn = overlay(source[first:last], values[first:last], colors=colors, fill=_FILL)
        shown[top : top + _ROWS] = drawn[top - first : top - first + _ROWS]
    return Image.fromarray(shown)


def shares(pixels: Mapping[int, int]) -> list[tuple[int, float]]:
    """Classes that are there and their shares of the pixels that have a class, the largest first.

    Args:
        pixels: Number of pixels by label.
    """
    total = max(sum(pixels.values()), 1)
    return [(label, n / total) for label, n in sorted(pixels.items(), key=lambda item: (-item[1], item[0])) if n]


def with_legend(
    picture: Image.Image,
    pixels: Mapping[int, int],
    names: Sequence[str],
    colours: Sequence[Sequence[int]] | None = None,
) -> Image.Image:
    """Return a picture with the classes that are there below it, the largest first, and their shares.

    Args:
        picture: What :func:`draw_segmentation` returns.
        pixels: Number of pixels by label; see :func:`densekit.structures.label_images.label_counts`.
        names: Class names.
        colours: As for :func:`draw_segmentation`.
    """
    found = [(label, share) for label, share in shares(pixels) if label not in _plain(names)]
    entries = [(label + 1, f"{one_line(names[label])} {_percent(share)}") for label, share in found[:_NAMED]]
    if not entries:
        return picture
    colors = {label + 1: class_color(label, colours) for label, _ in found}
    width = max(picture.width - 2 * MARGIN, 160)
    rest = len(found) - _NAMED
    blocks = [legend(entries, width, outlines=True, colors=colors)]
    blocks += [text_block([(f"and {rest} smaller ones", SMALL, FAINT)], width)] * (rest > 0)
    return below([picture, framed(below(blocks))], gap=0)


def _plain(names: Sequence[str]) -> list[int]:
    """Labels of the classes that are not drawn: painted over, nothing of the image would be left."""
    return [label for label, name in enumerate(names) if name.strip().lower() == "background"]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def open_image(path: str, data: PreparedSegmentation) -> Image.Image | None:
    """An image in RGB, of many channels the first three, of two the first; None if it cannot be read."""
    if data.channels == 3:
        return open_upright(path)
    from densekit.datasets.shared.image_loading import read_image  # takes seconds: it imports MMCV

    try:
        values = read_image(Path(path), data.ranges, data.channels)
    except DataError:
        return None
    seen = values[..., :3] if data.channels > 3 else np.repeat(values[..., :1], 3, axis=2)
    return Image.fromarray(seen.astype(np.uint8))
