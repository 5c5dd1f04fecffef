"""What stands before and after the transforms of a detector's pipeline: reading, and packing for the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs

from densekit.datasets.shared.cropped_masks import CroppedMasks, cropped
from densekit.datasets.shared.image_loading import LoadUprightImage, channels_first
from densekit.io.depth import Ranges

META_KEYS = (
    *("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction", "border", "meta"),
)
"""What a network may ask of an image: MMDetection's own list, the border that CenterNet cuts off again, and the row of
the image in a table of meta-information."""


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
