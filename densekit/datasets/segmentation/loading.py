"""What stands before and after the transforms of a segmentor's pipeline: reading, and packing for the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import PackSegInputs

import densekit.datasets.segmentation.transforms  # noqa: F401  registered, so that no other transforms are imported
from densekit.datasets.segmentation.masks import read_labels
from densekit.datasets.shared.image_loading import LoadUprightImage, channels_first
from densekit.io.depth import Ranges

META_KEYS = (
    *("img_path", "seg_map_path", "ori_shape", "img_shape", "pad_shape", "scale_factor", "flip", "flip_direction"),
    *("reduce_zero_label", "meta"),
)
"""What a network may ask of an image: MMSegmentation's own list, and the row of the image in a table."""


def with_loading(
    transforms: Sequence[Mapping[str, Any]],
    *,
    ranges: Ranges,
    channels: int = 3,
    lookup: np.ndarray | None = None,
    test: bool = False,
) -> list[dict[str, Any]]:
    """A whole pipeline around its transforms.

    Args:
        transforms: What a config gives.
        ranges: Of the data set's images of more than 8 bits; see :mod:`densekit.io.depth`.
        channels: Of the data set's images.
        lookup: Label of each value of a mask, uint8 ``(65536,)``; None: no masks are read.
        test: Labels stay in the original size, whatever the transforms do to the image.
    """
    image: dict[str, Any] = {"type": LoadUprightImage, "ranges": ranges, "channels": channels}
    labels: list[dict[str, Any]] = [] if lookup is None else [{"type": LoadLabels, "lookup": lookup}]
    inside = list(map(dict, transforms))
    return [image, *([*inside, *labels] if test else [*labels, *inside]), {"type": PackImage}]


class LoadLabels(BaseTransform):
    """Reads the labels of an image.

    Args:
        lookup: Label of each value of a mask, uint8 ``(65536,)``.
    """

    def __init__(self, lookup: np.ndarray) -> None:
        self.lookup = lookup

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map``, uint8 ``(H, W)`` of the size of the image as it was read.

        Raises:
            DataError: if the mask cannot be read.
        """
        height, width = results["ori_shape"]
        labels = read_labels(Path(results["seg_map_path"]), self.lookup, (width, height))
        return {**results, "gt_seg_map": labels, "seg_fields": [*results["seg_fields"], "gt_seg_map"]}


class PackImage(PackSegInputs):
    """MMSegmentation's packing; the image's channels are taken apart by OpenCV, several times as fast."""

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack ``img`` as ``inputs`` ``(C, H, W)`` and the labels as ``data_samples``, int64 ``(1, H, W)``."""
        packed = super().transform({key: value for key, value in results.items() if key != "img"})
        return {"inputs": torch.from_numpy(channels_first(results["img"])), **packed}
