"""The grid of a volume: where its voxels are in the patient, the way to the canonical grid and exactly back.

World coordinates are RAS+ in mm, as nibabel has them: x grows to the Right, y to Anterior, z to Superior. File axes
(i, j, k) are the axes of the file as nibabel gives them. Canonical axes (d, h, w) grow to Superior, Posterior and Left,
which is the array order of SimpleITK for an LPS image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from nibabel.orientations import aff2axcodes, io_orientation

from densekit.structures.notes import CAUTION

_SMALLEST_MM, _LARGEST_MM = 0.01, 30.0
_CANONICAL = ((2, 1.0), (1, -1.0), (0, -1.0))
"""For d, h, w: the RAS axis along which the index runs, and its sense: Superior, Posterior (-A), Left (-R)."""

MIN_SKEW_VOLUME = 0.5
"""Axes that enclose a smaller part of a right-angled voxel's volume are refused (0.5: two axes 30 degrees apart)."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of a file as it was read.

    An oblique grid is brought to the canonical axes that are closest to its own, as
    ``nibabel.orientations.io_orientation`` finds them: voxels are reordered, never interpolated, so the way back is
    exact.

    Attributes:
        shape: Number of voxels along the file axes (i, j, k).
        affine: ``(4, 4)`` float64, voxel index (i, j, k, 1) -> RAS mm. Read-only.
        spacing_known: False if the file says nothing of its spacing: 1 mm was assumed, and no volume in ml can be told.

    Raises:
        ValueError: if the shape is not three positive integers, or the affine is not an invertible map with axes of
            some length that point in clearly different directions. The text says what is wrong and names no file.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    spacing_known: bool = True

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"{_times(shape)} voxels, expected three axes of at least one voxel each")
        if not np.isfinite(affine).all():
            raise ValueError("the affine has NaN or infinite entries")
        if affine.shape != (4, 4) or not np.array_equal(affine[3], (0, 0, 0, 1)):
            raise ValueError(f"the affine is not a 4x4 matrix with last row 0 0 0 1, got {affine.tolist()}")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() < 1e-6:
            raise ValueError(f"zero spacing: voxels of {_times(lengths)} mm")
        if _skew_volume(affine) < MIN_SKEW_VOLUME:
            skew = _skew_degrees(affine)
            raise ValueError(f"the affine is singular or nearly so: its axes are {skew:.0f} degrees off right angles")
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same file grid to the last bit; see :meth:`difference` for grids that agree in mm."""
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    @cached_property
    def _axes(self) -> tuple[tuple[int, bool], ...]:
        """For d, h, w: the file axis it is, and whether it runs the other way there."""
        found = io_orientation(self.affine)
        axes = []
        for world_axis, sense in _CANONICAL:
            file_axis = int(np.flatnonzero(found[:, 0] == world_axis)[0])
            axes.append((file_axis, bool(found[file_axis, 1] != sense)))
        return tuple(axes)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edge lengths in mm along the file axes (i, j, k)."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k

    @property
    def orientation(self) -> str:
        """Where the file axes run to, as three letters (``"LPS"``); the closest directions for an oblique grid."""
        return "".join(aff2axcodes(self.affine))

    @property
    def skew_degrees(self) -> float:
        """How far the two least perpendicular axes are off a right angle; 0 but for sheared grids (CT gantry tilt)."""
        return _skew_degrees(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml; exact for sheared grids too."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """Number of voxels (D, H, W)."""
        d, h, w = (self.shape[axis] for axis, _ in self._axes)
        return d, h, w

    @property
    def canonical_spacing(self) -> tuple[float, float, float]:
        """Voxel edge lengths (D, H, W) in mm."""
        d, h, w = (self.spacing[axis] for axis, _ in self._axes)
        return d, h, w

    @property
    def canonical_affine(self) -> np.ndarray:
        """``(4, 4)`` float64, canonical voxel index (d, h, w, 1) -> RAS mm."""
        to_file = np.zeros((4, 4))
        to_file[3, 3] = 1
        for canonical_axis, (file_axis, reverse) in enumerate(self._axes):
            to_file[file_axis, canonical_axis] = -1 if reverse else 1
            to_file[file_axis, 3] = self.shape[file_axis] - 1 if reverse else 0
        return self.affine @ to_file

    def to_canonical(self, array: np.ndarray) -> np.ndarray:
        """Bring an array from the file's axes to the canonical ones.

        Args:
            array: ``(..., i, j, k)`` of any dtype.

        Returns:
            ``(..., D, H, W)``: a view of ``array``, transposed and flipped.

        Raises:
            ValueError: if the last three axes are not :attr:`shape`.
        """
        self._check(array, self.shape, "(i, j, k)")
        lead = array.ndim - 3
        order = [*range(lead), *(lead + axis for axis, _ in self._axes)]
        flips = tuple(slice(None, None, -1) if reverse else slice(None) for _, reverse in self._axes)
        return array.transpose(order)[(..., *flips)]

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Bring an array from the canonical axes back to the file's: the exact inverse of :meth:`to_canonical`.

        Args:
            array: ``(..., D, H, W)`` of any dtype.

        Returns:
            ``(..., i, j, k)``: a view of ``array``, flipped and transposed.

        Raises:
            ValueError: if the last three axes are not :attr:`canonical_shape`.
        """
        self._check(array, self.canonical_shape, "(D, H, W)")
        lead = array.ndim - 3
        flips = tuple(slice(None, None, -1) if reverse else slice(None) for _, reverse in self._axes)
        back = np.argsort([axis for axis, _ in self._axes])
        return array[(..., *flips)].transpose([*range(lead), *(lead + int(axis) for axis in back)])

    @staticmethod
    def _check(array: np.ndarray, expected: tuple[int, int, int], names: str) -> None:
        if tuple(array.shape[-3:]) != expected:
            raise ValueError(f"array of shape {tuple(array.shape)} does not end in {names} = {expected}")

    def corner_distance(self, other: Geometry) -> float:
        """Return the largest distance in mm between the same corners (voxel centres) of the canonical grids of both."""
        ends = [(0, n - 1) for n in self.canonical_shape]
        corners = np.array([(*corner, 1) for corner in itertools.product(*ends)], dtype=np.float64)
        apart = corners @ (self.canonical_affine - other.canonical_affine).T
        return float(np.linalg.norm(apart[:, :3], axis=1).max())

    def difference(self, other: Geometry, tolerance_mm: float | None = None) -> str | None:
        """Say why two grids are not the same voxels of the patient.

        The canonical grids are compared, so a label stored as RAS fits an image stored as LPS if their voxels coincide.

        Args:
            other: The grid to compare with.
            tolerance_mm: Largest distance of two corners that still counts as the same. None: a tenth of the smallest
                voxel edge.

        Returns:
            The difference in words, this grid first; None if there is none.
        """
        if self.canonical_shape != other.canonical_shape:
            return f"{_times(self.canonical_shape)} against {_times(other.canonical_shape)} voxels (D x H x W)"
        if tolerance_mm is None:
            tolerance_mm = 0.1 * min(self.spacing)
        apart = self.corner_distance(other)
        if apart <= tolerance_mm:
            return None
        if not np.allclose(self.canonical_spacing, other.canonical_spacing, rtol=1e-3):
            ours, theirs = _times(self.canonical_spacing), _times(other.canonical_spacing)
            return f"voxels of {ours} mm against {theirs} mm (D x H x W), corners up to {apart:.3g} mm apart"
        ours, theirs = (g.affine[:3, :3] / g.spacing for g in (self, other))
        canonical = [g.canonical_affine[:3, :3] / g.canonical_spacing for g in (self, other)]
        if np.allclose(*canonical, atol=1e-3):
            return f"shifted by {apart:.3g} mm"
        return (
            f"axes point in different directions ({self.orientation} against {other.orientation}), "
            f"corners up to {apart:.3g} mm apart"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the grid as plain JSON types; :meth:`from_dict` brings it back to the last bit."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Geometry:
        """Make a grid from what :meth:`to_dict` returned."""
        return cls(shape=tuple(values["shape"]), affine=np.array(values["affine"], dtype=np.float64))


def grid_notes(geometry: Geometry) -> list[str]:
    """Return notes on a sheared grid (0.1 degree is more than float32 rounding makes) and on sizes that no scan has."""
    notes = []
    if geometry.skew_degrees >= 0.1:
        skew = f"{geometry.skew_degrees:.1f}"
        notes.append(f"sheared grid, axes {skew} degrees off right angles: used as it is, not resampled")
    low, high = min(geometry.spacing), max(geometry.spacing)
    if low < _SMALLEST_MM or high > _LARGEST_MM:
        units = (("metres", 1e3), ("micrometres", 1e-3))
        fits = [name for name, f in units if low * f >= 0.1 and high * f <= 10]
        guess = f"are these {fits[0]}?" if fits else "is the header right?"
        words = f"voxels of {in_mm(geometry.spacing)} are implausible, {guess} volumes in ml are counted by them"
        notes.append(CAUTION + words)
    return notes


def in_mm(lengths: Sequence[float]) -> str:
    """Write lengths for a message, ``"1.5 x 1.5 x 3 mm"``."""
    return " x ".join(f"{length:.4g}" for length in lengths) + " mm"


def _skew_volume(affine: np.ndarray) -> float:
    """Volume enclosed by unit vectors along the axes: 1 for right angles, 0 for a singular affine."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return abs(float(np.linalg.det(axes)))


def _skew_degrees(affine: np.ndarray) -> float:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    return math.degrees(math.asin(min(cosine, 1.0)))


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
