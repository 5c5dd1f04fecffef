"""Masks made of what was drawn on images: polygons, run lengths and bitmaps, later ones over earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from densekit.datasets.segmentation.classes import IGNORED_NAMES, ClassList
from densekit.datasets.segmentation.draft import DraftPair
from densekit.errors import DataError
from densekit.ops import run_lengths
from densekit.structures.class_names import spelling
from densekit.structures.label_images import IGNORED

BACKGROUND = "background"
"""Class of what nobody drew."""


class Canvas:
    """The values of a mask that is drawn.

    Args:
        width: Of the image in pixels.
        height: Likewise.

    Attributes:
        values: uint8 ``(H, W)``, 0 where nothing is drawn.
        overlaps: Whether something was drawn over something of another value.
    """

    def __init__(self, width: int, height: int) -> None:
        self.values, self.overlaps = np.zeros((height, width), np.uint8), False

    def paint(self, value: int, mask: np.ndarray, left: int = 0, top: int = 0) -> None:
        """Draw where a mask, bool ``(h, w)`` with its first pixel at ``left``, ``top``, is set within the image."""
        mask = mask[max(-top, 0) :, max(-left, 0) :]
        top, left = max(top, 0), max(left, 0)
        there = self.values[top : top + mask.shape[0], left : left + mask.shape[1]]
        mask = mask[: there.shape[0], : there.shape[1]]
        before = there[mask]
        self.overlaps |= bool(((before != 0) & (before != value)).any())
        there[mask] = value

    def outline(self, value: int, outline: Sequence[Sequence[float]] | dict[str, Any]) -> None:
        """Draw polygons ``[[x1, y1, x2, y2, ...], ...]`` or run lengths, as COCO understands them.

        Raises:
            DataError: if run lengths are not those of a mask of this size.
        """
        from hotcoco import mask as library

        height, width = self.values.shape
        try:
            if isinstance(outline, dict):
                if tuple(outline["size"]) != (height, width):
                    size = f"{outline['size'][1]} x {outline['size'][0]}"
                    raise DataError(f"a mask of {size} in an image of {width} x {height}")
                rle = outline
            else:
                whole = [list(map(float, polygon)) for polygon in outline if len(polygon) >= 6]
                if not whole:
                    return
                rle = library.merge(library.frPyObjects(whole, height, width))
            self.paint(value, run_lengths.decode(rle))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"an outline cannot be read ({error})") from error

    def rings(self, value: int, rings: Sequence[np.ndarray]) -> None:
        """Draw what lies within an odd number of rings of pixels, int ``(n, 2)`` x and y; their own pixels count."""
        rings = [np.rint(ring).astype(np.int32).reshape(-1, 1, 2) for ring in rings if len(ring)]
        if not rings:
            return
        mask = np.zeros(self.values.shape, np.uint8)
        cv2.fillPoly(mask, rings, 1)
        self.paint(value, mask.astype(bool))


def drawn_classes(listed: ClassList) -> tuple[ClassList, dict[str, int]]:
    """Return a class list with a background, which is one of its classes if it is called so, and values by name.

    Names of nothing (``ignore``, ``void``...) have the value 255.
    """
    own = next((name for name in listed.names if spelling(name.strip("_")) == BACKGROUND), None)
    names = tuple(name for name in listed.names if name != own)
    values = {name: value for value, name in enumerate(names, start=1)} | ({own: 0} if own else {})
    colours = None
    if listed.colours is not None:
        by_name = dict(zip(listed.names, listed.colours, strict=True))
        colours = (by_name.get(own, (0, 0, 0)), *(by_name[name] for name in names))
    values |= dict.fromkeys(IGNORED_NAMES - values.keys(), IGNORED)
    whole = ClassList((own or BACKGROUND, *names), tuple(range(len(names) + 1)), colours, source=listed.source)
    return whole.check(), values


def value_of(name: str, values: dict[str, int], pair: DraftPair) -> int:
    """The value of a class.

    Raises:
        DataError: if the class list does not have it.
    """
    found = values.get(name, values.get(name.lower().strip("_ ")))
    if found is None:
        raise DataError(f"{pair.mask}: has the class {name!r}, which the class list lacks; add it there")
    return found
