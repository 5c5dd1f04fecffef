"""How a scan becomes network input: crop, resample, normalise. The same code prepares training data and predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from densekit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

NORMALIZATIONS = ("ct", "zscore")
_INTENSITY_KEYS = ("lower", "upper", "mean", "std")
_SMALLEST_STD = 1e-8


@dataclass(frozen=True)
class SpatialResult:
    """A scan on the network's grid, and what is needed to bring a prediction back to the scan's own grid.

    Attributes:
        array: ``(C, d, h, w)``, cropped and resampled.
        box: First and one past the last plane kept along D, H and W of the scan.
        shape_before: (D, H, W) of the scan.
    """

    array: np.ndarray
    box: Box
    shape_before: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(d, h, w) on the network's grid."""
        d, h, w = self.array.shape[1:]
        return d, h, w

    @property
    def cropped_shape(self) -> tuple[int, int, int]:
        """(D, H, W) inside the box, on the scan's grid."""
        d, h, w = (stop - start for start, stop in self.box)
        return d, h, w

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """The box as slices of a ``(D, H, W)`` array."""
        d, h, w = (slice(start, stop) for start, stop in self.box)
        return d, h, w

    def labels_to_network(self, labels: np.ndarray) -> np.ndarray:
        """Bring a label map ``(D, H, W)`` on the scan's grid to the network's ``(d, h, w)`` by nearest neighbour."""
        labels = labels[self.region]
        if labels.shape != self.shape:
            from densekit.ops.resample import resample_labels

            labels = resample_labels(labels, self.shape)
        return np.ascontiguousarray(labels)

    def boxes_to_network(self, boxes: np.ndarray) -> np.ndarray:
        """Bring boxes ``(N, 6)`` (:mod:`densekit.ops.volume_boxes`) from the scan's grid to the network's, clipped."""
        shift = np.tile([start for start, _ in self.box], 2)
        scale = np.tile(np.divide(self.shape, self.cropped_shape), 2)
        return np.clip((boxes - shift) * scale, 0, np.tile(self.shape, 2))


@dataclass(frozen=True)
class Preprocessing:
    """How a scan becomes network input. Stored with every prepared data set and in every checkpoint.

    Attributes:
        channels: Name of each image channel.
        spacing: Spacing (D, H, W) in mm of the network's grid, or None: the scan's own grid is kept.
        normalization: ``"ct"``: clip to ``[lower, upper]``, subtract ``mean``, divide by ``std``, the same for every
            scan. ``"zscore"``: subtract each scan's own mean, divide by its own standard deviation.
        intensity: For ``"ct"``, one dict ``{"lower", "upper", "mean", "std"}`` per channel (HU for CT).
        seen: What the training scans have in common, per channel, see :data:`densekit.datasets.volume.units.Seen`; None
            where it is not known. Changes no input, only what is said of scans in another unit.

    Raises:
        ConfigError: if the values contradict each other.
    """

    channels: tuple[str, ...]
    spacing: tuple[float, float, float] | None
    normalization: str
    intensity: tuple[dict[str, float], ...] | None = None
    seen: tuple[dict[str, float] | None, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.normalization not in NORMALIZATIONS:
            raise ConfigError(f"preprocessing: normalization is {self.normalization!r}, expected 'ct' or 'zscore'")
        if self.spacing is not None:
            object.__setattr__(self, "spacing", tuple(float(mm) for mm in self.spacing))
            if len(self.spacing) != 3 or not all(np.isfinite(mm) and mm > 0 for mm in self.spacing):
                raise ConfigError(
                    f"preprocessing: spacing is {self.spacing}, expected three positive numbers (D, H, W) in mm or None"
                )
        if self.intensity is not None:
            self._check_intensity()
        if self.seen is not None:
            object.__setattr__(self, "seen", tuple(self.seen))
            if len(self.seen) != len(self.channels):
                raise ConfigError(
                    f"preprocessing: seen describes {len(self.seen)} channels, expected {len(self.channels)}"
                )

    def _check_intensity(self) -> None:
        object.__setattr__(self, "intensity", tuple(dict(values) for values in self.intensity))
        if len(self.intensity) != len(self.channels):
            raise ConfigError(
                f"preprocessing: intensity describes {len(self.intensity)} channels, "
                f"expected {len(self.channels)} ({', '.join(self.channels)})"
            )
        for name, values in zip(self.channels, self.intensity, strict=True):
            if set(values) != set(_INTENSITY_KEYS):
                raise ConfigError(
                    f"preprocessing: intensity of channel {name} has the keys {sorted(values)}, "
                    f"expected {', '.join(_INTENSITY_KEYS)}"
                )

    def spatial(self, array: np.ndarray, spacing: Sequence[float]) -> SpatialResult:
        """Crop the constant border of a scan and resample it to :attr:`spacing`.

        Cropping removes the border planes in which every voxel of every channel is at that channel's minimum (air
        around a masked brain, padding of a scanner) and nothing else, so nothing is lost. Resampling is cubic; a
        strongly anisotropic axis (more than 3 times the finest spacing) is resampled on its own with order 0, as
        nnU-Net does. Values stay within the range they had.

        Args:
            array: ``(C, D, H, W)``, any real dtype.
            spacing: Spacing (D, H, W) of the scan in mm.

        Returns:
            The result, contiguous; integers stay integers (rounded), floats become float32.

        Raises:
            DataError: if the number of channels is another one than that of :attr:`channels`.
        """
        if array.ndim != 4 or array.shape[0] != len(self.channels):
            raise DataError(
                f"scan of shape {tuple(array.shape)} has {array.shape[0] if array.ndim == 4 else 'no'} channels, "
                f"expected {len(self.channels)} ({', '.join(self.channels)}); give one file per channel, in this order"
            )
        box = constant_border(array)
        d, h, w = (slice(start, stop) for start, stop in box)
        cropped = array[:, d, h, w]
        if cropped.dtype == bool:
            cropped = cropped.astype(np.uint8)
        if self.spacing is not None:
            from densekit.ops.resample import low_resolution_axis, resample, resampled_shape

            shape = resampled_shape(cropped.shape[1:], spacing, self.spacing)
            coarse = low_resolution_axis(spacing, self.spacing)
            cropped = resample(cropped, shape, order=[0 if axis == coarse else 3 for axis in range(3)], clip=True)
        dtype = np.float32 if np.issubdtype(cropped.dtype, np.floating) else cropped.dtype.newbyteorder("=")
        return SpatialResult(np.ascontiguousarray(cropped, dtype=dtype), box, tuple(array.shape[1:]))

    def statistics(self, array: np.ndarray) -> list[tuple[float, float]]:
        """Return what :meth:`normalize` needs to know of one whole scan on the network's grid.

        Args:
            array: ``(C, d, h, w)``, as :meth:`spatial` returns it.

        Returns:
            Mean and standard deviation of each channel for ``"zscore"``; an empty list for ``"ct"``.
        """
        return [] if self.normalization == "ct" else [_mean_std(channel) for channel in array]

    def normalize(self, image: Tensor, statistics: Sequence[Sequence[float]]) -> Tensor:
        """Normalise intensities.

        Args:
            image: ``(C, d, h, w)`` of any real dtype: a whole scan on the network's grid or a part of it.
            statistics: What :meth:`statistics` returned for the whole scan.

        Returns:
            A new float32 tensor of the same shape, on the same device.

        Raises:
            ConfigError: if the intensities or statistics that the normalisation needs are not there.
        """
        values = self.intensity if self.normalization == "ct" else statistics
        if values is None or len(values) != image.shape[0]:
            raise ConfigError(
                f"preprocessing: normalization {self.normalization!r} of {image.shape[0]} channels needs "
                f"{'intensity' if self.normalization == 'ct' else 'statistics'} of each, got {values}"
            )
        import torch

        image = image.to(torch.float32, copy=True)
        for channel, of_channel in zip(image, values, strict=True):
            if self.normalization == "ct":
                channel.clamp_(of_channel["lower"], of_channel["upper"])
                mean, std = of_channel["mean"], of_channel["std"]
            else:
                mean, std = of_channel
            channel.sub_(mean).div_(max(std, _SMALLEST_STD))
        return image

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; :meth:`from_dict` brings them back."""
        values = {
            "channels": list(self.channels),
            "spacing": None if self.spacing is None else list(self.spacing),
            "normalization": self.normalization,
            "intensity": None if self.intensity is None else [dict(values) for values in self.intensity],
        }
        return values if self.seen is None else values | {"seen": [s if s is None else dict(s) for s in self.seen]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Make it from what :meth:`to_dict` returned.

        Raises:
            ConfigError: if a key is missing or unknown.
        """
        expected = ("channels", "spacing", "normalization", "intensity")
        if set(values) - {"seen"} != set(expected):
            raise ConfigError(f"preprocessing has the keys {sorted(values)}, expected {', '.join(expected)}")
        return cls(**values)


def constant_border(array: np.ndarray) -> Box:
    """Return the box that is left when border planes at the minimum are taken away.

    A border plane goes if every voxel of every channel in it equals that channel's minimum over the volume. A volume
    that is constant throughout keeps its shape.

    Args:
        array: ``(C, D, H, W)``.

    Returns:
        First and one past the last plane along D, H and W.
    """
    minimum = array.min(axis=(1, 2, 3), keepdims=True)[:, 0]
    box = []
    for axis in (1, 2, 3):
        planes = np.moveaxis(array, axis, 0)  # a view: (planes, C, rest, rest)
        start, stop = 0, len(planes)
        while start < stop and np.array_equal(planes[start], np.broadcast_to(minimum, planes[start].shape)):
            start += 1
        if start == stop:
            return tuple((0, n) for n in array.shape[1:])
        while np.array_equal(planes[stop - 1], np.broadcast_to(minimum, planes[stop - 1].shape)):
            stop -= 1
        box.append((start, stop))
        array = np.moveaxis(planes[start:stop], 0, axis)
    d, h, w = box
    return d, h, w


def _mean_std(channel: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation in float64, plane by plane: no copy of the volume in floating point."""
    mean = float(channel.mean(dtype=np.float64))
    squares = sum(float(np.square(plane.astype(np.float64) - mean).sum()) for plane in channel)
    return mean, (squares / channel.size) ** 0.5
