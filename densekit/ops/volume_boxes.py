"""Boxes in volumes as tensors ``(N, 6)``: the corners ``z0, y0, x0, z1, y1, x1`` in voxels of a grid ``(D, H, W)``.

Coordinates are those of faces, not of voxel centres: (0, 0, 0) is the outer corner of the first voxel, a box around
that voxel alone is ``0, 0, 0, 1, 1, 1``, and one around the whole volume ``0, 0, 0, D, H, W``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor


def moved(boxes: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Return the boxes of what ``x -> matrix @ x + offset`` makes of the content of boxes.

    Exact where the matrix leads axes to axes (mirroring, permuting, scaling, shifting); of a rotation it is the box
    that encloses the rotated one, which is larger than what a box around the rotated object would be.

    Args:
        boxes: ``(N, 6)``.
        matrix: ``(3, 3)``.
        offset: ``(3,)``.
    """
    matrix, offset = matrix.to(boxes), offset.to(boxes)
    centre = (boxes[:, :3] + boxes[:, 3:]) / 2 @ matrix.T + offset
    half = (boxes[:, 3:] - boxes[:, :3]) / 2 @ matrix.abs().T
    return torch.cat([centre - half, centre + half], dim=1)


def mirrored(boxes: Tensor, axes: Iterable[int], shape: Sequence[int]) -> Tensor:
    """Return the boxes of a volume of that shape (D, H, W) after it is mirrored along some of its axes (0 to 2)."""
    boxes = boxes.clone()
    for axis in axes:
        boxes[:, [axis, axis + 3]] = shape[axis] - boxes[:, [axis + 3, axis]]
    return boxes


def clipped(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Return what of each box lies in a volume of that shape (D, H, W); without extent for one that lies outside."""
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([*shape, *shape]))


def centred_in(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Return, as bool ``(N,)``, which boxes have their centre in a volume of that shape (D, H, W)."""
    centre = (boxes[:, :3] + boxes[:, 3:]) / 2
    return ((centre >= 0) & (centre < centre.new_tensor(shape))).all(dim=1)


def inside(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return uint8 ``(D, H, W)``: 1 for each voxel that a box touches."""
    mask = np.zeros(shape, dtype=np.uint8)
    for box in boxes:
        mask[tuple(slice(int(a), int(b)) for a, b in zip(np.floor(box[:3]), np.ceil(box[3:]), strict=True))] = 1
    return mask
