"""Masks as compressed COCO run lengths, without looking at the empty part of each picture twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def encode_masks(masks: torch.Tensor | np.ndarray | Sequence[dict]) -> list[dict[str, Any]]:
    """Return the run lengths of masks ``(N, H, W)`` of bool, each ``{"size": [H, W], "counts": text}``.

    Run lengths go column by column, so only the columns that have any pixel are read (and, from a GPU, copied): for
    100 masks of a picture of 640 x 480 about a third of the time of pycocotools.

    Args:
        masks: On any device. Run lengths as MMDetection makes them (text as bytes) pass through as text.
    """
    from hotcoco import mask as library

    if not isinstance(masks, (torch.Tensor, np.ndarray)):
        return [{"size": [int(s) for s in rle["size"]], "counts": _text(rle["counts"], library, rle)} for rle in masks]
    if isinstance(masks, torch.Tensor) and masks.device.type == "cpu":
        masks = masks.numpy()  # NumPy's any() is several times as fast as torch's on a CPU
    occupied = masks.any(1)
    occupied = occupied.cpu().numpy() if isinstance(occupied, torch.Tensor) else occupied
    height, width = (int(side) for side in masks.shape[1:])
    found = []
    for mask, columns in zip(masks, occupied, strict=True):
        where = np.flatnonzero(columns)
        if not len(where):
            counts = np.array([height * width])
        else:
            first, last = int(where[0]), int(where[-1]) + 1
            part = mask[:, first:last]
            part = part.cpu().numpy() if isinstance(part, torch.Tensor) else part
            counts = _counts(part.astype(bool, copy=False), first * height, (width - last) * height)
        text = library.rle_to_string({"size": [height, width], "counts": counts})
        found.append({"size": [height, width], "counts": text})
    return found


def _counts(part: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return the run lengths of a part of the columns, with empty pixels before and after it; zeros come first."""
    flat = np.zeros(part.size + 2, dtype=bool)
    flat[1:-1] = part.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1])  # where runs of ones begin and end, in turn
    counts = np.diff(changes + before, prepend=0, append=before + part.size + after)
    return counts if counts[-1] else counts[:-1]


def _text(counts: Any, library: Any, rle: dict) -> str:
    if isinstance(counts, bytes):
        return counts.decode("ascii")
    return counts if isinstance(counts, str) else library.rle_to_string(rle)
