"""Pictures with detected or annotated objects: boxes, masks, names and scores; what a training's images look like."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from densekit.visualization.detection.objects import draw_detections
from densekit.visualization.shared import mosaic as shared
from densekit.visualization.shared.mosaic import CELL, bgr_picture, described_input

__all__ = ["box_array", "draw_detections", "mask_list", "training_mosaic"]


def training_mosaic(dataset: Any, path: str | os.PathLike, *, names: Sequence[str], images: int = 16) -> None:
    """Write a picture of what the network is given, see :func:`densekit.visualization.shared.mosaic.training_mosaic`.

    Regions to ignore are grey and hatched.

    Args:
        dataset: The training's data set. An item is ``{"inputs": uint8 (3, H, W) in BGR, "data_samples":
            DetDataSample}`` with ``gt_instances`` and ``ignored_instances`` in pixels of ``inputs``.
        path, names, images: As there.
    """
    shared.training_mosaic(dataset, path, partial(_training_tile, names=names), names=names, images=images)


def _training_tile(item: dict[str, Any], names: Sequence[str]) -> tuple[Image.Image, list[str], set[int]]:
    """Return a picture of an item, the lines above it, and the labels in it."""
    image, sample = bgr_picture(item["inputs"]), item["data_samples"]
    objects = [sample.gt_instances]
    if "ignored_instances" in sample:
        objects.append(sample.ignored_instances)
    boxes = np.concatenate([box_array(part.bboxes) for part in objects])
    labels = [int(label) for part in objects for label in part.labels]
    masks = [mask for part in objects for mask in mask_list(part)]
    ignored = np.arange(len(boxes)) >= len(objects[0])
    tile = draw_detections(image, boxes, labels, None, masks, names, size=CELL, ignored=ignored)
    count, away = int((~ignored).sum()), int(ignored.sum())
    words = f"{count} object{'s' * (count != 1)}" if count else "no objects"
    if away:
        words += f", {away} to ignore"
    shown = {label for label, gone in zip(labels, ignored, strict=True) if not gone}
    return tile, [*described_input(item, image.size), words], shown


def box_array(boxes: Any) -> np.ndarray:
    """Return ``x1, y1, x2, y2`` of MMDetection's boxes or of a tensor, float64 ``(N, 4)``."""
    tensor = getattr(boxes, "tensor", boxes)
    return np.asarray(tensor.detach().cpu(), dtype=np.float64).reshape(-1, 4)


def mask_list(objects: Any) -> list[Any]:
    """Return the masks of MMDetection's instances as :func:`draw_detections` takes them, None for each without any.

    Args:
        objects: With ``bboxes`` and maybe ``masks``: bitmaps or polygons of MMDetection, a tensor ``(N, H, W)``, or run
            lengths.
    """
    if "masks" not in objects:
        return [None] * len(objects)
    masks = objects.masks
    masks = getattr(masks, "masks", masks)  # MMDetection's BitmapMasks and PolygonMasks
    return list(masks.detach().cpu().numpy() if hasattr(masks, "detach") else masks)
