"""A label map drawn over a grey picture: light areas with strong outlines, solid, dashed or dotted by label value."""

from __future__ import annotations

import numpy as np

from densekit.visualization.shared.palette import OUTLINES, label_color, outline

_FILL = 0.28  # opacity of the inside of a structure and of the gaps of its outline; the rest of its outline is opaque
_PIECES = {"dashed": (8, 6), "dotted": (3, 3)}  # pixels down and across of a piece of an outline


def overlay(
    picture: np.ndarray, values: np.ndarray, *, colors: np.ndarray | None = None, fill: float = _FILL
) -> np.ndarray:
    """Colour a picture by the label values at each of its pixels.

    Args:
        picture: ``(h, w, 3)`` uint8.
        values: Label map, ``(h, w)`` integer; 0 leaves the picture as it is.
        colors: By label value, ``(n, 3)``; None: the palette's.
        fill: Opacity of areas.

    Returns:
        Picture, ``(h, w, 3)`` uint8.
    """
    labels = range(int(values.max(initial=0)) + 1)
    palette = [label_color(i) for i in labels] if colors is None else colors
    colors = np.asarray(palette, np.float32)[values]
    styles = np.array([OUTLINES.index(outline(i)) for i in labels])[values]
    mixed = (1 - fill) * picture + fill * colors
    edge = _borders(values)
    edge = edge | _borders(np.where(edge, -1, values.astype(np.int64)))  # two pixels wide, inside the structure
    y, x = np.indices(values.shape)
    for style, (down, across) in _PIECES.items():
        gap = (y // down + x // across) % 2 == 1
        edge &= ~(gap & (styles == OUTLINES.index(style)))
    drawn = np.where(edge[..., None], colors, mixed)
    return np.where((values > 0)[..., None], np.round(drawn), picture).astype(np.uint8)


def _borders(values: np.ndarray) -> np.ndarray:
    """Return where a pixel has another value than a neighbour above, below, to the left or to the right."""
    border = np.zeros(values.shape, bool)
    down = values[1:] != values[:-1]
    border[1:] |= down
    border[:-1] |= down
    right = values[:, 1:] != values[:, :-1]
    border[:, 1:] |= right
    border[:, :-1] |= right
    return border
