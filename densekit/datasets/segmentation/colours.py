"""Colour-coded masks: the value that each colour stands for, and what to say of colours that stand for none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from densekit.datasets.segmentation.classes import ClassList, Colour
from densekit.errors import ConfigError
from densekit.structures.label_images import IGNORED


class ColourTable:
    """Turns colours to labels.

    Args:
        classes: With colours; the label of a class is its place.
        ignored: Colours that stand for no class.

    Raises:
        ConfigError: if two classes have one colour, or a class has one that is to be ignored.
    """

    def __init__(self, classes: ClassList, ignored: Iterable[Colour] = ()) -> None:
        self.names, self.colours = classes.names, classes.colours
        self.ignored = tuple(ignored)
        owner = dict.fromkeys(self.ignored, "what is ignored")
        for name, colour in zip(classes.names, classes.colours, strict=True):
            if colour in owner:
                raise ConfigError(
                    f"{classes.source}: {owner[colour]} and {name} have one colour, {shown(colour)}; give each its own"
                )
            owner[colour] = name
        self._table = np.full(2**24, IGNORED, np.uint8)
        self._table[_codes(np.array(classes.colours, np.uint8))] = np.arange(len(classes.names))
        self._ignored = _codes(np.array(self.ignored, np.uint8).reshape(-1, 3))

    def labels(self, pixels: np.ndarray) -> tuple[np.ndarray, dict[Colour, int]]:
        """Turn pixels to labels.

        Args:
            pixels: uint8 ``(H, W, 3)``, red, green, blue.

        Returns:
            uint8 ``(H, W)``, and how many pixels there are of each colour that is not known, which are IGNORED.
        """
        codes = _codes(pixels)
        labels = self._table[codes]
        strange = codes[labels == IGNORED]
        strange = strange[~np.isin(strange, self._ignored)] if strange.size else strange
        return labels, _counted(strange)

    def nearest(self, colour: Colour) -> str:
        """The known colour that is least away, in words."""
        known = [*zip(self.names, self.colours, strict=True), *(("ignored", c) for c in self.ignored)]
        name, found = min(known, key=lambda item: sum((a - b) ** 2 for a, b in zip(item[1], colour, strict=True)))
        return f"{name} {shown(found)}"


def colours_in(pixels: np.ndarray) -> dict[Colour, int]:
    """How many pixels ``(H, W, 3)`` there are of each colour."""
    return _counted(_codes(pixels).ravel())


def shown(colour: Sequence[int]) -> str:
    """A colour in words."""
    return f"({', '.join(map(str, colour))})"


def _codes(pixels: np.ndarray) -> np.ndarray:
    """One number for each colour: blue, green, red from its highest byte on."""
    flat = np.ascontiguousarray(pixels).reshape(-1, 1, 3)
    if not len(flat):
        return np.zeros(pixels.shape[:-1], np.uint32)
    four = cv2.cvtColor(flat, cv2.COLOR_RGB2RGBA)  # so that four bytes can be read as one number
    return (four.view("<u4") & 0xFFFFFF).reshape(pixels.shape[:-1])


def _counted(codes: np.ndarray) -> dict[Colour, int]:
    values, counts = np.unique(codes, return_counts=True)
    found = sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda item: -item[1])
    return {(code & 255, code >> 8 & 255, code >> 16): count for code, count in found}
