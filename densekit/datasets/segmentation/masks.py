"""Mask files: PNG of index, palette, grey or colour, of 8 or 16 bits, and TIFF; read to values, and to labels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from densekit.errors import DataError
from densekit.io.files import require_file
from densekit.io.rasters import read_raster
from densekit.structures.label_images import IGNORED

TOLERATED = 2
"""Pixels by which width and height of a mask may differ from its image."""
VALUES = 65536


class Mask(NamedTuple):
    """What a mask file holds.

    Attributes:
        values: ``(H, W)`` uint8, uint16 or int32 from 0 on; or colours ``(H, W, 3)`` uint8, red, green, blue.
        palette: Colour of each value, uint8 ``(n, 3)``; None: there is none.
    """

    values: np.ndarray
    palette: np.ndarray | None = None

    def colours(self) -> np.ndarray:
        """The colours that are seen, ``(H, W, 3)``: of a palette those, of a grey image three equal ones."""
        if self.palette is not None:
            table = np.zeros((256, 3), np.uint8)
            table[: len(self.palette)] = self.palette
            return table[self.values]
        return self.values if self.values.ndim == 3 else np.repeat(self.values.astype(np.uint8)[..., None], 3, axis=2)


def read_mask(path: Path) -> Mask:
    """Read a mask as it is stored; colours that are all grey are read as their values.

    Raises:
        DataError: if it cannot be read, or its values are not whole numbers from 0 to 65535.
    """
    require_file(path)
    try:
        with Image.open(path) as image:
            if image.mode == "P":
                values = np.asarray(image)
                return Mask(values, np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3))
            if image.mode in ("CMYK", "YCbCr", "PA", "RGBa", "HSV", "LAB"):
                image = image.convert("RGB")
            values = np.asarray(image)
    except Image.UnidentifiedImageError:
        values = read_raster(path)
        values = values[..., 0] if values.shape[2] == 1 else values
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); export or fetch it again") from error
    if values.ndim == 3:
        values = values[..., 0] if values.shape[2] in (1, 2) else values[..., :3]
    if values.ndim == 3 and any((values[..., n] != values[..., n + 1]).any() for n in (0, 1)):
        return Mask(values)
    return Mask(_whole(path, values if values.ndim == 2 else np.ascontiguousarray(values[..., 0])))


def _whole(path: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype == bool:
        return values.astype(np.uint8)
    low, high = values.min(), values.max()
    if not (low >= 0 and high < VALUES) or (values.dtype.kind == "f" and (values != np.rint(values)).any()):
        raise DataError(
            f"{path}: has values from {low:g} to {high:g}; expected whole numbers from 0 to {VALUES - 1}, one a class"
        )
    return values.astype(np.int32)


def read_labels(path: Path, lookup: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a mask as labels.

    Args:
        path: An index mask.
        lookup: Label of each value, uint8 ``(65536,)``.
        size: Width and height of the image; what the mask lacks of them is IGNORED.

    Returns:
        uint8 ``(H, W)``.

    Raises:
        DataError: if the file cannot be read, or is no index mask of this size.
    """
    values = read_mask(path).values
    if values.ndim != 2:
        raise DataError(f"{path}: is coloured now; it was an index mask when the data set was read, start anew")
    labels = cv2.LUT(values, lookup[:256]) if values.dtype == np.uint8 else lookup[values]
    return labels if size is None else fitted(path, labels, size)


def fitted(path: Path, labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut labels to ``(width, height)``, or fill them up with IGNORED, at the right and below.

    Raises:
        DataError: if they differ by more than :data:`TOLERATED` pixels.
    """
    width, height = size
    if labels.shape == (height, width):
        return labels
    if abs(labels.shape[0] - height) > TOLERATED or abs(labels.shape[1] - width) > TOLERATED:
        raise DataError(f"{path}: is {labels.shape[1]} x {labels.shape[0]}, its image {width} x {height}")
    out = np.full((height, width), IGNORED, np.uint8)
    part = labels[:height, :width]
    out[: part.shape[0], : part.shape[1]] = part
    return out
