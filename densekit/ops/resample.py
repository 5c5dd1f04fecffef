"""Spline resampling of volumes as three small matrix products.

Resampling to an axis-aligned grid is linear and separable, so what ``scipy.ndimage.zoom`` (with ``mode="nearest"`` and
``grid_mode=True``) does along one axis is a matrix of ``n_out x n_in`` numbers. The matrix is taken from SciPy itself,
by zooming unit vectors, and kept; a volume then costs three matrix products, on any device, in a fraction of the time
of SciPy's own loop and without a copy of the whole volume in floating point.

The grid convention is that of images: voxels are little boxes, and the outer faces of the first and of the last box
stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)

# Output rows computed at a time: bounds the working copy in floating point, however long the volume is.
_SLAB_ROWS = 32
# A spline's influence decays by a factor 3.7 per voxel; entries below this are rounding noise even in float64.
_NEGLIGIBLE = 1e-15


@lru_cache(maxsize=64)
def zoom_matrix(n_in: int, n_out: int, order: int) -> np.ndarray:
    """Return the matrix of ``scipy.ndimage.zoom(order=order, mode="nearest", grid_mode=True)`` along one axis.

    Args:
        n_in: Voxels along the axis before.
        n_out: Voxels along the axis after.
        order: Degree of the spline, 0 (nearest) to 5; 1 is linear, 3 is cubic.

    Returns:
        float64 array ``(n_out, n_in)``, read-only; its rows sum to 1.
    """
    from scipy import ndimage

    zoomed = [
        ndimage.zoom(unit, n_out / n_in, order=order, mode="nearest", grid_mode=True)
        for unit in np.eye(n_in, dtype=np.float64)
    ]
    matrix = np.ascontiguousarray(np.stack(zoomed, axis=1))
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=256)
def nearest_index(n_in: int, n_out: int) -> np.ndarray:
    """Return which input voxel each output voxel takes along one axis: ``(n_out,)`` int64, SciPy's rule of order 0."""
    from scipy import ndimage

    positions = np.arange(n_in, dtype=np.float64)
    index = ndimage.zoom(positions, n_out / n_in, order=0, mode="nearest", grid_mode=True).astype(np.int64)
    index.setflags(write=False)
    return index


def low_resolution_axis(spacing: Sequence[float], target_spacing: Sequence[float]) -> int | None:
    """Return the axis that nnU-Net (v1) resamples separately with order 0, or None.

    It is the axis of the largest spacing if that is more than 3 times the smallest, judged first by the spacing of the
    scan, then by that of the target. Two axes that are equally coarse are not treated separately.

    Args:
        spacing: Spacing (D, H, W) of the scan in mm.
        target_spacing: Spacing (D, H, W) to resample to in mm.
    """
    for candidate in (spacing, target_spacing):
        coarsest = max(candidate)
        if coarsest / min(candidate) > 3:
            axes = [axis for axis, mm in enumerate(candidate) if np.isclose(mm, coarsest, rtol=1e-4)]
            return axes[0] if len(axes) == 1 else None
    return None


def resampled_shape(
    shape: Sequence[int], spacing: Sequence[float], target_spacing: Sequence[float]
) -> tuple[int, int, int]:
    """Return the shape (D, H, W) that covers the same extent at another spacing, at least one voxel per axis."""
    d, h, w = (max(1, round(n * old / new)) for n, old, new in zip(shape, spacing, target_spacing, strict=True))
    return d, h, w


@torch.no_grad()
def resample(volume: Array, shape: Sequence[int], *, order: int | Sequence[int] = 3, clip: bool = False) -> Array:
    """Resample a volume to another shape over the same extent.

    Equal to ``scipy.ndimage.zoom(mode="nearest", grid_mode=True)`` channel by channel, up to rounding. It works through
    the volume in slabs, so that beside the input and the output only some tens of rows exist in floating point.

    Args:
        volume: ``(C, D, H, W)`` array or tensor, of any real dtype.
        shape: (D, H, W) after.
        order: Degree of the spline, one for all axes or one per axis.
        clip: Keep each channel within the range it had; a cubic spline overshoots at edges.

    Returns:
        ``(C, *shape)`` of the same kind, device and dtype; integers are rounded and kept within their dtype's range.
    """
    orders = (order,) * 3 if isinstance(order, int) else tuple(order)
    shape = tuple(int(n) for n in shape)
    is_tensor = isinstance(volume, Tensor)
    if tuple(volume.shape[1:]) == shape:
        return volume.clone() if is_tensor else volume.copy()
    working = _working_dtype(volume.dtype)
    device = volume.device if is_tensor else torch.device("cpu")
    steps = [
        _Axis(n_in, n_out, k, working, device) for n_in, n_out, k in zip(volume.shape[1:], shape, orders, strict=True)
    ]
    if is_tensor:
        out = torch.empty((volume.shape[0], *shape), dtype=volume.dtype, device=device)
    else:
        out = np.empty((volume.shape[0], *shape), dtype=volume.dtype.newbyteorder("="))
    for channel in range(volume.shape[0]):
        low, high = _limits(volume[channel], clip)
        for start in range(0, shape[0], _SLAB_ROWS):
            stop = min(start + _SLAB_ROWS, shape[0])
            first, last = steps[0].needed(start, stop)
            slab = _load(volume[channel, first:last], working)
            slab = steps[0].rows(slab, start, stop, first, last)
            slab = steps[2].along_last(steps[1].along_middle(slab))
            if low is not None:
                slab = slab.round() if _is_integer(volume.dtype) else slab
                slab = slab.clamp(low, high)
            out[channel, start:stop] = slab if is_tensor else slab.numpy()
    return out


def resample_labels(labels: Array, shape: Sequence[int]) -> Array:
    """Bring a label map to another shape over the same extent by nearest neighbour, to a prepared grid or back from it.

    Args:
        labels: ``(..., D, H, W)`` array or tensor.
        shape: (D, H, W) after.

    Returns:
        ``(..., *shape)`` of the same kind and dtype; only values of the input occur.
    """
    for axis, n_out in zip((-3, -2, -1), shape, strict=True):
        n_in = labels.shape[axis]
        if n_in == n_out:
            continue
        index = nearest_index(n_in, int(n_out))
        if isinstance(labels, Tensor):
            labels = labels.index_select(labels.dim() + axis, torch.tensor(index, device=labels.device))
        else:
            labels = np.take(labels, index, axis=axis)
    return labels


class _Axis:
    """The operator along one axis: nothing, a selection (order 0) or a matrix."""

    def __init__(self, n_in: int, n_out: int, order: int, dtype: torch.dtype, device: torch.device) -> None:
        self.matrix = self.index = None
        if n_in != n_out and order == 0:
            self.index = torch.tensor(nearest_index(n_in, n_out), device=device)
        elif n_in != n_out:
            self.matrix = torch.tensor(zoom_matrix(n_in, n_out, order), dtype=dtype, device=device)

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of input rows that output rows ``start:stop`` depend on."""
        if self.matrix is not None:
            used = (self.matrix[start:stop].abs() > _NEGLIGIBLE).any(dim=0).nonzero()
            return int(used[0]), int(used[-1]) + 1
        if self.index is not None:
            return int(self.index[start]), int(self.index[stop - 1]) + 1
        return start, stop

    def rows(self, slab: Tensor, start: int, stop: int, first: int, last: int) -> Tensor:
        """Make output rows ``start:stop`` from the input rows ``first:last`` in ``slab`` (rows, H, W)."""
        if self.matrix is not None:
            return torch.tensordot(self.matrix[start:stop, first:last], slab, dims=1)
        return slab if self.index is None else slab[self.index[start:stop] - first]

    def along_middle(self, slab: Tensor) -> Tensor:
        if self.matrix is not None:
            return torch.matmul(self.matrix, slab)
        return slab if self.index is None else slab[:, self.index]

    def along_last(self, slab: Tensor) -> Tensor:
        if self.matrix is not None:
            return torch.matmul(slab, self.matrix.T)
        return slab if self.index is None else slab[..., self.index]


def _is_integer(dtype: np.dtype | torch.dtype) -> bool:
    if isinstance(dtype, torch.dtype):
        return not dtype.is_floating_point
    return np.issubdtype(dtype, np.integer)


def _working_dtype(dtype: np.dtype | torch.dtype) -> torch.dtype:
    """float32 where it holds every value exactly enough (floats up to 32 bits, integers up to 16), else float64."""
    limit = 2 if _is_integer(dtype) else 4
    return torch.float32 if dtype.itemsize <= limit else torch.float64


def _limits(channel: np.ndarray | Tensor, clip: bool) -> tuple[float | None, float | None]:
    """Return the range to keep a channel in: what it had, else what its integer dtype holds, else none."""
    if clip:
        return float(channel.min()), float(channel.max())
    if _is_integer(channel.dtype):
        info = torch.iinfo(channel.dtype) if isinstance(channel, Tensor) else np.iinfo(channel.dtype)
        return info.min, info.max
    return None, None


def _load(rows: np.ndarray | Tensor, dtype: torch.dtype) -> Tensor:
    """Copy some rows into floating point; the array may be a flipped view, big-endian or a read-only memory map."""
    if isinstance(rows, Tensor):
        return rows.to(dtype)
    return torch.from_numpy(np.array(rows, dtype=np.float32 if dtype == torch.float32 else np.float64, order="C"))
