"""Random rotation and scaling in one interpolation, reading only as much context as the draw needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import Randomizable, Transform
from torch import Tensor

from densekit.errors import ConfigError
from densekit.ops.volume_boxes import moved
from densekit.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandRotateScale(Randomizable, Transform):
    """Rotate and scale about the centre of the patch, then cut the patch out; a plain cut where neither is drawn.

    Angles and factors are drawn as nnU-Net (v1) does: rotation and scaling independently of each other, one factor for
    all axes, half of the factors below 1. Both are applied on the voxel grid, in a single interpolation: linear for the
    image, nearest for the label. What lies outside the given window counts as the window's minimum (image) and
    background (label). Boxes become those that enclose what is made of them: exact for a scaling, too large for a
    rotation (:func:`densekit.ops.volume_boxes.moved`).

    The sample may be larger than the patch; its centre is the centre of the patch. :meth:`draw_margin` says how much
    larger it must be for the next draw to have real context everywhere.

    Args:
        patch_size: (d, h, w) of the result.
        degrees: Largest rotation about the D, H and W axis; each angle is uniform in ``[-degrees, degrees]``.
        rotate_prob: Probability of a rotation.
        scale: Range of the factor by which the field of view grows: 1.4 shows 1.4 times as much, everything smaller.
        scale_axes: Axes that are scaled (0 = D, 1 = H, 2 = W).
        scale_prob: Probability of a scaling.
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        degrees: Sequence[float] = (30.0, 30.0, 30.0),
        rotate_prob: float = 0.2,
        scale: Sequence[float] = (0.7, 1.4),
        scale_axes: Sequence[int] = (0, 1, 2),
        scale_prob: float = 0.2,
    ) -> None:
        self.patch_size = tuple(int(n) for n in patch_size)
        self.degrees = tuple(degrees)
        self.rotate_prob = rotate_prob
        self.scale = tuple(scale)
        self.scale_axes = tuple(scale_axes)
        self.scale_prob = scale_prob
        if len(self.patch_size) != 3 or min(self.patch_size) < 1 or len(self.degrees) != 3:
            raise ConfigError(
                f"RandRotateScale: patch_size {patch_size} and degrees {degrees} need three values (D, H, W)"
            )
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"RandRotateScale: scale {scale} is not a range of positive factors, as in (0.7, 1.4)")
        self._matrix: np.ndarray | None = None
        self._drawn = False

    def randomize(self, data: Any = None) -> None:
        """Draw the next transform: a matrix from patch offsets to source offsets (voxels), or None."""
        rotate, scale = self.R.uniform(size=2) < (self.rotate_prob, self.scale_prob)
        self._matrix = None
        if rotate:
            self._matrix = _rotation([math.radians(self.R.uniform(-limit, limit)) for limit in self.degrees])
        if scale:
            low, high = self.scale
            shrink = low < 1 < high and self.R.uniform() < 0.5
            factor = self.R.uniform(low, 1.0) if shrink else self.R.uniform(max(low, 1.0) if high > 1 else low, high)
            factors = [factor if axis in self.scale_axes else 1.0 for axis in range(3)]
            self._matrix = np.diag(factors) @ (np.eye(3) if self._matrix is None else self._matrix)
        self._drawn = True

    def draw_margin(self) -> tuple[int, int, int]:
        """Draw the next transform and return how many voxels per side (d, h, w) it looks beyond the patch."""
        self.randomize()
        if self._matrix is None:
            return 0, 0, 0
        half = (np.array(self.patch_size) - 1) / 2
        reach = np.abs(self._matrix) @ half - half
        d, h, w = (max(0, math.ceil(voxels) + 1) for voxels in reach)  # 1 more: interpolation needs the next voxel
        return d, h, w

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        if not self._drawn:
            self.randomize()
        self._drawn = False
        sample = dict(data)
        grid = None if self._matrix is None else self._grid(sample["inputs"].shape[1:])
        for key, mode in (("inputs", "bilinear"), ("label", "nearest")):
            if key in sample:
                sample[key] = self._cut(sample[key]) if grid is None else _interpolate(sample[key], grid, mode)
        if "boxes" in sample:
            sample["boxes"] = self._move(sample["boxes"], data["inputs"].shape[1:])
        return sample

    def _move(self, boxes: Tensor, window_shape: Sequence[int]) -> Tensor:
        if self._matrix is None:
            starts = [(n - size) // 2 for n, size in zip(window_shape, self.patch_size, strict=True)]
            return boxes - boxes.new_tensor(starts * 2)
        inverse = torch.from_numpy(np.linalg.inv(self._matrix))
        middle, middle_of_window = (torch.tensor(n, dtype=torch.float64) / 2 for n in (self.patch_size, window_shape))
        return moved(boxes, inverse, middle - inverse @ middle_of_window)

    def _cut(self, window: Tensor) -> Tensor:
        starts = [(n - size) // 2 for n, size in zip(window.shape[1:], self.patch_size, strict=True)]
        if min(starts) < 0:
            raise ConfigError(
                f"RandRotateScale: got a sample of {tuple(window.shape[1:])}, smaller than its patch_size "
                f"{self.patch_size}; give it the data set's patch_size"
            )
        d, h, w = (slice(start, start + size) for start, size in zip(starts, self.patch_size, strict=True))
        return window[:, d, h, w]

    def _grid(self, window_shape: Sequence[int]) -> Tensor:
        """Return where in the window each voxel of the patch comes from: ``(1, d, h, w, 3)`` for ``grid_sample``.

        The sum of one term per axis; ``affine_grid`` multiplies matrices instead and takes five times as long.
        """
        # normalised coordinates run over [-1, 1] from face to face, in the order W, H, D
        step = (self._matrix * 2 / np.array(window_shape)[:, None])[::-1].T
        offsets = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in self.patch_size]
        d, h, w = (o[:, None] * torch.tensor(s.tolist()) for o, s in zip(offsets, step, strict=True))
        return ((d[:, None, None] + h[:, None]) + w)[None]


def _interpolate(window: Tensor, grid: Tensor, mode: str) -> Tensor:
    outside = window.amin(dim=(1, 2, 3), keepdim=True) if mode == "bilinear" else 0
    values = (window.float() - outside)[None]  # because grid_sample fills with 0
    values = F.grid_sample(values, grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
    return (values + outside).to(window.dtype)


def _rotation(angles: Sequence[float]) -> np.ndarray:
    """Return the matrix (3, 3) that rotates by ``angles`` (radians) about the D, H and W axis, one after the other."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (other for other in range(3) if other != axis)
        about = np.eye(3)
        about[[i, i, j, j], [i, j, i, j]] = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
        matrix = about @ matrix
    return matrix
