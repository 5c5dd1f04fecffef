"""Images as a segmentor takes them: of three channels as everywhere, of others as the file has them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from densekit.datasets.shared.image_loading import read_image
from densekit.errors import DataError
from densekit.inference.inputs import is_video
from densekit.io import sha256
from densekit.io.depth import Ranges
from densekit.io.images import LoadedImage, as_image, orientation_of
from densekit.io.rasters import open_raster

_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class ChannelImage(LoadedImage):
    """An image of other than three channels.

    Attributes:
        pixels: ``(H, W, C)`` in the order of the file, uint8 or float32 of 0 to 255.
    """

    def rgb(self) -> Image.Image:
        """Its first three channels as red, green and blue; the first alone in grey if there are fewer."""
        return as_rgb(self.pixels)


def as_rgb(pixels: np.ndarray) -> Image.Image:
    """Channels ``(H, W, C)`` of 0 to 255 to look at: the first three, or the first in grey."""
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    return Image.fromarray(np.ascontiguousarray(np.clip(shown, 0, 255).astype(np.uint8)))


def load(source: Any, channels: int, ranges: Ranges | None) -> LoadedImage:
    """Bring whatever is given to what a network of so many channels takes.

    Args:
        source: As for :func:`densekit.io.images.as_image`; for other than three channels a file, or an array
            ``(H, W, C)`` uint8.
        channels: Of the network.
        ranges: Of the training's images of more than 8 bits.

    Raises:
        DataError: if it cannot be read, or has other channels.
    """
    if channels == 3 or isinstance(source, LoadedImage):
        image = as_image(source, ranges)
        _check_channels(image.path or "image", image.pixels.shape[2], channels)
        return image
    if isinstance(source, (str, Path)):
        path = Path(source)
        if is_video(path):
            raise DataError(f"{path}: a video has 3 channels, the network takes {channels}; give images")
        return ChannelImage(read_image(path, ranges or {}, channels), (), sha256(path), path)
    pixels = np.asarray(source)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise DataError(f"image: array {pixels.shape} of {pixels.dtype}, expected (H, W, {channels}) of uint8")
    _check_channels("image", pixels.shape[2], channels)
    return ChannelImage(np.ascontiguousarray(pixels))


def _check_channels(name: Any, given: int, channels: int) -> None:
    if given != channels:
        raise DataError(f"{name}: has {given} channels, the network takes {channels}; give images like the training's")


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of an image by its header, as :func:`~densekit.io.rasters.open_raster` would read it.

    None for a video, for what cannot be opened, and for an image that its EXIF turns: that one is read as a whole.
    """
    if is_video(path):
        return None
    if path.suffix.lower() in _TIFF:
        try:
            with open_raster(path) as raster:
                return raster.size
        except DataError:  # said where it is read
            return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # only the header is read
            try:
                with Image.open(path) as image:
                    return image.size if orientation_of(image) == 1 else None
            finally:
                Image.MAX_IMAGE_PIXELS = before
    except (OSError, ValueError, SyntaxError):
        return None


def shown_classes(names: Sequence[str]) -> str:
    """The first class names, for a message."""
    return f"{', '.join(names[:4])}{' ...' * (len(names) > 4)}"
