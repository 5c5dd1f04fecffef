"""What stands before and after the transforms of a detector's pipeline: reading, and packing for the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs

from densekit.datasets.shared.cropped_masks import CroppedMasks, cropped
from densekit.io.depth import Ranges
from densekit.io.images import load_image

META_KEYS = (
    *("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction", "border", "meta"),
)
"""What a network may ask of an image: MMDetection's own list, the border that CenterNet cuts off again, and the row of
the image in a table of meta-information."""
_FLIP_CODES = {(0,): 0, (1,): 1, (0, 1): -1}
"""Mirrored axes -> OpenCV's number for it."""


def with_loading(transforms: Sequence[Mapping[str, Any]], *, masks: bool, ranges: Ranges) -> list[dict[str, Any]]:
    """A whole pipeline around its transforms.

    Args:
        transforms: What a config gives.
        masks: Load the objects' masks as well.
        ranges: Of the data set's images of more than 8 bits; see :mod:`densekit.io.depth`.
    """
    return [
        {"type": LoadUprightImage, "ranges": ranges},
        {"type": LoadObjects, "with_bbox": True, "with_mask": masks},
        *map(dict, transforms),
        {"type": PackImage},
    ]


class LoadUprightImage(BaseTransform):
    """Reads an image as prediction does (:func:`densekit.io.images.load_image`).

    MMDetection's loader leaves WebP as it lies, whatever its EXIF says, and fills up what a cut file lacks.

    Args:
        ranges: Of the data set's images of more than 8 bits; see :mod:`densekit.io.depth`.
    """

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` (uint8 ``(H, W, 3)`` in BGR), ``img_shape`` and ``ori_shape``.

        Raises:
            DataError: if the file cannot be read.
        """
        pixels = load_image(Path(results["img_path"]), self.ranges).pixels
        return {**results, "img": pixels, "img_shape": pixels.shape[:2], "ori_shape": pixels.shape[:2]}


class LoadObjects(LoadAnnotations):
    """MMDetection's loading of boxes, labels and masks; of each mask the part around its object is kept."""

    def _load_masks(self, results: dict[str, Any]) -> None:
        height, width = results["ori_shape"]
        given = self._process_masks(results)
        crops = (cropped(self._poly2mask(mask, height, width)) for mask in given)
        results["gt_masks"] = CroppedMasks.of_crops(crops, height, width)


class PackImage(PackDetInputs):
    """MMDetection's packing; the image's channels are taken apart by OpenCV, several times as fast."""

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack ``img`` as ``inputs`` (uint8 ``(3, H, W)``) and the objects as ``data_samples``."""
        packed = super().transform({key: value for key, value in results.items() if key != "img"})
        return {"inputs": torch.from_numpy(channels_first(results["img"])), **packed}


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
