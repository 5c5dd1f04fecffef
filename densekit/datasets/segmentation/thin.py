"""What of each class is so thin that it vanishes when images are made smaller for training."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from densekit.structures.label_images import IGNORED

THIN = 2.0
"""Pixels of width, at the scale of the training, below which something is thin."""


class Thin(NamedTuple):
    """What is thin in one image, each int64 ``(classes,)`` but ``box``.

    Attributes:
        pixels: Of a class in parts that are thin.
        objects: Connected areas of a class.
        vanishing: Of these, such as are thin everywhere.
        boxes: By label, corners ``(x1, y1, x2, y2)`` around the largest that is thin everywhere.
    """

    pixels: np.ndarray
    objects: np.ndarray
    vanishing: np.ndarray
    boxes: dict[int, tuple[float, float, float, float]]


def training_scale(size: tuple[int, int], input_size: tuple[int, int]) -> float:
    """Factor by which an image is resized to fit into ``input_size``, longer and shorter side, in either direction."""
    return min(max(input_size) / max(size), min(input_size) / min(size))


def find_thin(labels: np.ndarray, number: int, scale: float) -> Thin:
    """Find what is less than :data:`THIN` pixels wide once an image is resized.

    That is what no square of one class and of that side covers (a morphological opening, of all classes at once).

    Args:
        labels: ``(H, W)`` uint8 in the size of the image.
        number: Of classes.
        scale: Factor by which it is resized.
    """
    side = max(1, math.ceil(THIN / scale))
    square = np.ones((side, side), np.uint8)
    far = (side - 1 - side // 2,) * 2
    low = cv2.erode(labels, square, borderType=cv2.BORDER_REPLICATE)
    uniform = (low == cv2.dilate(labels, square, borderType=cv2.BORDER_REPLICATE)).astype(np.uint8)
    wide = cv2.dilate(uniform, square, anchor=far, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    thin = ~wide & (labels != IGNORED)
    pixels = np.bincount(labels[thin], minlength=number)[:number]
    objects, vanishing = np.zeros(number, np.int64), np.zeros(number, np.int64)
    boxes = {}
    for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[:number]):
        mask = (labels == label).astype(np.uint8)
        objects[label], areas, stats, _ = _components(mask)
        if not pixels[label]:
            continue
        gone = np.ones(objects[label] + 1, bool)
        gone[areas[wide & (mask > 0)]] = False
        gone[0] = False
        vanishing[label] = gone.sum()
        if gone.any():
            x, y, w, h, _ = max(stats[gone].tolist(), key=lambda row: row[4])
            boxes[int(label)] = (x, y, x + w, y + h)
    return Thin(pixels, objects, vanishing, boxes)


def _components(mask: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    number, areas, stats, middles = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return number - 1, areas, stats, middles
