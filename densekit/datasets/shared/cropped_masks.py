"""Instance masks of which only the part around each object is kept: MMDetection's BitmapMasks, in less memory and time.

A bitmap of the whole image for each object is mostly zeros: 100 objects at 1333x800 are 107 MB, which every transform
copies and a worker process hands over. Every pixel is the one that BitmapMasks has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import mmcv
import numpy as np
from mmdet.structures.mask import BitmapMasks


class Crop(NamedTuple):
    """A rectangle of one mask, outside of which it is zero.

    Attributes:
        top: Its first row in the image.
        left: Its first column.
        pixels: ``(h, w)``; of no size if there is nothing.
    """

    top: int
    left: int
    pixels: np.ndarray


class CroppedMasks(BitmapMasks):
    """BitmapMasks that hold rectangles; the whole bitmaps are made where something asks for them.

    Resizing (nearest), flipping, padding with zero, cropping, moving by whole pixels and choosing work on the
    rectangles; what else BitmapMasks can do works on whole bitmaps and gives BitmapMasks.

    Args:
        masks: Bitmaps, ``(N, H, W)`` or N of ``(H, W)``.
        height: H.
        width: W.
    """

    def __init__(self, masks: np.ndarray | Sequence[np.ndarray], height: int, width: int) -> None:
        self.height, self.width = height, width
        self.crops = [cropped(mask) for mask in masks]

    @classmethod
    def of_crops(cls, crops: Iterable[Crop], height: int, width: int) -> CroppedMasks:
        """From rectangles that lie within ``height`` and ``width``."""
        new = cls((), height, width)
        new.crops = list(crops)
        return new

    @property
    def masks(self) -> np.ndarray:
        """Whole bitmaps, ``(N, H, W)``, made anew at each call."""
        kind = self.crops[0].pixels.dtype if self.crops else np.uint8
        whole = np.zeros((len(self.crops), self.height, self.width), kind)
        for mask, (top, left, pixels) in zip(whole, self.crops, strict=True):
            mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return whole

    @masks.setter
    def masks(self, whole: np.ndarray) -> None:
        self.crops = [cropped(mask) for mask in whole]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: Any) -> CroppedMasks:
        chosen = np.arange(len(self))[index].reshape(-1)
        return self.of_crops((self.crops[n] for n in chosen), self.height, self.width)

    @property
    def areas(self) -> np.ndarray:
        """Sum of each mask."""
        return np.array([crop.pixels.sum() for crop in self.crops], dtype=np.uint64)

    def rescale(self, scale: float | tuple[int, int], interpolation: str = "nearest") -> BitmapMasks:
        """Bring to another size, keeping the ratio; see MMCV's ``rescale_size`` for the scale."""
        width, height = mmcv.rescale_size((self.width, self.height), scale)
        return self.resize((height, width), interpolation)

    def resize(self, out_shape: tuple[int, int], interpolation: str = "nearest") -> BitmapMasks:
        """Bring to ``(height, width)``."""
        if interpolation != "nearest":
            return super().resize(out_shape, interpolation)
        height, width = out_shape
        rows, columns = _nearest(self.height, height), _nearest(self.width, width)
        return self.of_crops((_resized(crop, rows, columns) for crop in self.crops), height, width)

    def flip(self, flip_direction: str = "horizontal") -> CroppedMasks:
        """Mirror left and right (``"horizontal"``), top and bottom (``"vertical"``), or both (``"diagonal"``)."""
        vertical, horizontal = flip_direction != "horizontal", flip_direction != "vertical"

        def flipped(crop: Crop) -> Crop:
            top, left, pixels = crop
            height, width = pixels.shape
            if vertical:
                top, pixels = self.height - top - height, pixels[::-1]
            if horizontal:
                left, pixels = self.width - left - width, pixels[:, ::-1]
            return Crop(top, left, np.ascontiguousarray(pixels))

        return self._each(flipped, self.height, self.width)

    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> BitmapMasks:
        """Add rows below and columns on the right up to ``(height, width)``."""
        if pad_val or out_shape[0] < self.height or out_shape[1] < self.width:
            return super().pad(out_shape, pad_val)
        return self.of_crops(self.crops, *out_shape)

    def crop(self, bbox: np.ndarray) -> CroppedMasks:
        """Keep the part within a box ``(x1, y1, x2, y2)`` of whole pixels."""
        x1, x2 = (int(v) for v in np.clip(bbox[0::2], 0, self.width))
        y1, y2 = (int(v) for v in np.clip(bbox[1::2], 0, self.height))
        height, width = max(y2 - y1, 1), max(x2 - x1, 1)

        def inside(crop: Crop) -> Crop:
            top, left, pixels = crop
            rows = slice(max(y1 - top, 0), max(y1 + height - top, 0))
            columns = slice(max(x1 - left, 0), max(x1 + width - left, 0))
            return _moved(pixels[rows, columns], max(top - y1, 0), max(left - x1, 0))

        return self._each(inside, height, width)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> CroppedMasks:
        """Lay on a larger canvas of zeros, ``top`` and ``left`` pixels from its corner."""
        return self._each(lambda crop: _moved(crop.pixels, crop.top + top, crop.left + left), expanded_h, expanded_w)

    def translate(
        self,
        out_shape: tuple[int, int],
        offset: float | tuple[float, float],
        direction: str = "horizontal",
        border_value: int = 0,
        interpolation: str = "bilinear",
    ) -> BitmapMasks:
        """Move within a canvas ``(height, width)``; ``direction`` as MMDetection's, of ``"both"`` x comes first."""
        x, y = {"horizontal": (offset, 0), "vertical": (0, offset), "both": offset}[direction]
        if border_value or x != int(x) or y != int(y):
            return super().translate(out_shape, offset, direction, border_value, interpolation)
        height, width = out_shape

        def moved(crop: Crop) -> Crop:
            top, left = crop.top + int(y), crop.left + int(x)
            # what the canvas has before the move and after it
            rows = slice(max(-top, 0), max(min(height - crop.top, height - top), 0))
            columns = slice(max(-left, 0), max(min(width - crop.left, width - left), 0))
            return _moved(crop.pixels[rows, columns], max(top, 0), max(left, 0))

        return self._each(moved, height, width)

    @classmethod
    def cat(cls, masks: Sequence[BitmapMasks]) -> BitmapMasks:
        """Put several together.

        Raises:
            ValueError: if there is none.
        """
        if not all(isinstance(each, CroppedMasks) for each in masks):
            return BitmapMasks.cat(masks)
        if not masks:
            raise ValueError("masks: none given, nothing to put together")
        return cls.of_crops((crop for each in masks for crop in each.crops), masks[0].height, masks[0].width)

    def _each(self, change: Callable[[Crop], Crop], height: int, width: int) -> CroppedMasks:
        return self.of_crops(map(change, self.crops), height, width)


def cropped(mask: np.ndarray) -> Crop:
    """The rectangle around what is not zero in a bitmap ``(H, W)``."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return _moved(mask[:0, :0], 0, 0)
    top, left = int(rows[0]), int(columns[0])
    return Crop(top, left, np.ascontiguousarray(mask[top : rows[-1] + 1, left : columns[-1] + 1]))


def _moved(pixels: np.ndarray, top: int, left: int) -> Crop:
    return Crop(top, left, pixels) if pixels.size else Crop(0, 0, pixels[:0, :0])


def _nearest(before: int, after: int) -> np.ndarray:
    """The pixel of a line of ``before`` that each pixel of a line of ``after`` takes, as OpenCV's INTER_NEAREST."""
    step = 1 / (after / before)
    return np.minimum(np.floor(np.arange(after) * step).astype(int), before - 1)


def _resized(crop: Crop, rows: np.ndarray, columns: np.ndarray) -> Crop:
    top, bottom = np.searchsorted(rows, (crop.top, crop.top + crop.pixels.shape[0]))
    left, right = np.searchsorted(columns, (crop.left, crop.left + crop.pixels.shape[1]))
    pixels = crop.pixels.take(rows[top:bottom] - crop.top, axis=0).take(columns[left:right] - crop.left, axis=1)
    return _moved(pixels, int(top), int(left))
