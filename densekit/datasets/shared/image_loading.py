"""What stands before and after the transforms of a pipeline of images, whatever they are annotated with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from densekit.errors import DataError
from densekit.io.depth import Ranges, rescaled
from densekit.io.images import load_image
from densekit.io.rasters import read_raster

_OWN = ("LoadImageFromFile", "LoadAnnotations", "PackDetInputs", "PackSegInputs")
_FLIP_CODES = {(0,): 0, (1,): 1, (0, 1): -1}
"""Mirrored axes -> OpenCV's number for it."""


def between(transforms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A pipeline without OpenMMLab's loading and packing, in whose place densekit's own stand."""

    def name(kind: Any) -> str:
        return getattr(kind, "__name__", str(kind)).rpartition(".")[2]

    return [dict(given) for given in transforms if name(given.get("type")) not in _OWN]


class LoadUprightImage(BaseTransform):
    """Reads an image as prediction does (:func:`read_image`).

    OpenMMLab's loader leaves WebP as it lies, whatever its EXIF says, and fills up what a cut file lacks.

    Args:
        ranges: Of the data set's images of more than 8 bits; see :mod:`densekit.io.depth`.
        channels: Of the data set's images.
    """

    def __init__(self, ranges: Ranges, channels: int = 3) -> None:
        self.ranges, self.channels = ranges, channels

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` (``(H, W, C)``, see :func:`read_image`), ``img_shape`` and ``ori_shape``.

        Raises:
            DataError: if the file cannot be read, or has not the data set's channels.
        """
        pixels = read_image(Path(results["img_path"]), self.ranges, self.channels)
        return {**results, "img": pixels, "img_shape": pixels.shape[:2], "ori_shape": pixels.shape[:2]}


def read_image(path: Path, ranges: Ranges, channels: int) -> np.ndarray:
    """Read an image as a network takes it.

    Args:
        path: The file.
        ranges: Of the data set's images of more than 8 bits.
        channels: How many there have to be; 3 are blue, green, red, whatever the file has.

    Returns:
        ``(H, W, 3)`` uint8; of another number of channels ``(H, W, C)`` in the order of the file, uint8, or float32 of
        0 to 255 where there are more than 8 bits: nothing of them is lost.

    Raises:
        DataError: if the file cannot be read, or has another number of channels.
    """
    if channels == 3:
        return load_image(path, ranges).pixels
    values = read_raster(path)
    if values.shape[2] != channels:
        raise DataError(f"{path}: has {values.shape[2]} channels, expected {channels} as in the data set")
    try:
        return values if values.dtype == np.uint8 else rescaled(values, ranges)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def channels_first(image: np.ndarray) -> np.ndarray:
    """Copy an image ``(H, W, C)`` or ``(H, W)`` to ``(C, H, W)``; a mirrored view is copied as quickly as any other."""
    image = np.atleast_3d(image)
    mirrored = tuple(axis for axis in (0, 1) if image.strides[axis] < 0)
    upright = np.ascontiguousarray(np.flip(image, mirrored))
    if mirrored:
        upright = cv2.flip(upright, _FLIP_CODES[mirrored])
    out = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(upright, list(out))
    return out
