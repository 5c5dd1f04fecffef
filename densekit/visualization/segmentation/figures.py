"""Pictures of the report on a segmentor: truth, prediction, and where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from densekit.evaluation.segmentation.errors import KINDS, error_map
from densekit.visualization.segmentation.drawing import draw_segmentation
from densekit.visualization.shared.mosaic import titled
from densekit.visualization.shared.palette import Color
from densekit.visualization.shared.sheet import beside, fitting

ERROR_COLORS: dict[str, Color] = {
    "boundary": (0xFF, 0xE0, 0x8A),
    "confusion": (0xE0, 0x24, 0x1B),
    "missed": (0x8A, 0x4D, 0xFF),
}
"""Light at borders, which hardly ever are drawn to the pixel; strong where whole areas are wrong."""
_TILE = (400, 340)
_DIMMED = 0.45  # of the image's brightness below the errors


def draw_errors(
    image: Image.Image, truth: np.ndarray, found: np.ndarray, size: tuple[int, int] | None = None
) -> Image.Image:
    """Return an image in dark grey with its wrong pixels in the colour of their kind.

    Args:
        image: RGB.
        truth: ``(H, W)`` uint8 with ignored pixels.
        found: The same without.
        size: Width and height of the result, at most. None: as the image is.
    """
    kinds = error_map(truth, found)
    shown = (fitting(image, size) if size else image).convert("L")
    if kinds.shape != (shown.height, shown.width):
        kinds = np.asarray(Image.fromarray(kinds).resize(shown.size, Image.Resampling.NEAREST))
    grey = np.repeat((np.asarray(shown, np.float32) * _DIMMED).astype(np.uint8)[..., None], 3, axis=2)
    colors = np.array([(0, 0, 0), *(ERROR_COLORS[kind] for kind in KINDS)], np.uint8)
    return Image.fromarray(np.where((kinds > 0)[..., None], colors[kinds], grey))


def draw_comparison(
    image: Image.Image,
    truth: np.ndarray,
    found: np.ndarray,
    names: Sequence[str],
    colours: Sequence[Sequence[int]] | None = None,
) -> Image.Image:
    """Draw the truth of an image, what was found, and where that is wrong, beside each other.

    Args:
        image: RGB.
        truth: ``(H, W)`` uint8 with ignored pixels.
        found: The same without.
        names: Class names.
        colours: As for :func:`~densekit.visualization.segmentation.drawing.draw_segmentation`.
    """
    sides = [draw_segmentation(image, labels, names, colours, size=_TILE) for labels in (truth, found)]
    sides.append(draw_errors(image, truth, found, size=_TILE))
    return beside([titled(side, title) for side, title in zip(sides, ("there", "found", "wrong"), strict=True)])
