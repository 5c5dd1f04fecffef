"""Reading volumes: NIfTI, NRRD and MetaImage files, and images in memory, to arrays on the canonical grid.

Integers stay integers. What had to be assumed or repaired stands in ``Volume.notes``; what cannot be used is refused
with one line that says what to do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage

from densekit.errors import DataError, kind_of
from densekit.io.files import entries, require_file
from densekit.io.geometry import Geometry
from densekit.io.itk import from_itk, read_itk, read_itk_grid
from densekit.io.nifti import from_array, from_nibabel, read_nifti, read_nifti_grid, read_nifti_header

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
"""Endings of the files that :func:`read_volume` reads, in lower case."""

_LABEL_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume on its canonical grid.

    Attributes:
        array: ``(C, D, H, W)``, contiguous, of the stored integer type or float32.
        geometry: The grid of the file, and the way back to it.
        path: Where it was read; of a volume that was in memory what messages call it.
        notes: What was assumed or repaired, for the user to read once.
    """

    array: np.ndarray
    geometry: Geometry
    path: Path
    notes: tuple[str, ...] = ()


def volume_suffix(path: str | os.PathLike) -> str | None:
    """Return the ending by which a file is a volume (``".nii.gz"``, in lower case), or None if it is none."""
    name = Path(path).name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix) and name != suffix), None)


def volume_stem(path: str | os.PathLike) -> str:
    """Return the file name without its ending: ``"scan"`` for ``scan.nii.gz``."""
    name = Path(path).name
    return name[: -len(volume_suffix(path) or "") or None]


def read_volume(path: str | os.PathLike) -> Volume:
    """Read an image volume.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha`` or ``.mhd`` file with one number per voxel.

    Returns:
        The volume, array ``(1, D, H, W)``: integer where the values of the file are (``scl_slope`` and ``scl_inter``
        applied), else float32.

    Raises:
        DataError: if the file cannot be read or used; also for NaN or infinite voxels.
    """
    path = Path(path)
    return _volume(path, *(read_nifti if _is_nifti(path) else read_itk)(path))


def as_volume(source: Any) -> Volume:
    """Bring whatever an image volume is given as to the canonical grid; see :func:`read_volume`.

    Args:
        source: A file; an image of nibabel or of SimpleITK; or ``(array, affine)``, the array ``(i, j, k)`` in the
            order in which the affine ``(4, 4)`` maps its indices to RAS mm, as nibabel has them.

    Raises:
        DataError: if it is none of these, or cannot be used.
    """
    if isinstance(source, (str, os.PathLike)):
        return read_volume(source)
    if isinstance(source, SpatialImage):
        name = Path(source.get_filename() or "nibabel image")
        return _volume(name, *from_nibabel(source, name))
    if is_array_with_affine(source):
        name = Path("(array, affine)")
        return _volume(name, *from_array(*source, name))
    itk = sys.modules.get("SimpleITK")
    if itk is not None and isinstance(source, itk.Image):
        name = Path("SimpleITK image")
        return _volume(name, *from_itk(source, name))
    raise DataError(
        f"scan: {kind_of(source)} given, expected a file, a nibabel or SimpleITK image, or (array, affine); an "
        f"array alone does not say where its voxels are, and a picture (PIL, RGB) is no scan"
    )


def is_array_with_affine(source: Any) -> bool:
    """Whether something is a pair ``(array, affine)``, and not a list of channels."""
    return isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray)


def _volume(path: Path, array: np.ndarray, geometry: Geometry, notes: Sequence[str]) -> Volume:
    # Writable, or torch would warn of it; what is in memory already may not be.
    canonical = np.require(geometry.to_canonical(array), requirements=("C", "W"))[None]
    _check_finite(path, canonical)
    return Volume(canonical, geometry, path, tuple(notes))


def read_label(path: str | os.PathLike) -> Volume:
    """Read a label map: as :func:`read_volume`, but the values must be integers from 0 on.

    Returns:
        The label map, array ``(1, D, H, W)`` of the smallest of uint8, uint16, uint32 that holds its values.

    Raises:
        DataError: if the file cannot be read or used; for negative values and values that are not integers.
    """
    volume = read_volume(path)
    array, notes = volume.array, volume.notes
    if array.dtype.kind == "f":
        array, note = _integers(Path(path), array)
        notes += (note,) if note else ()
    low, high = array.min().item(), array.max().item()
    if low < 0:
        raise DataError(
            f"{path}: has negative values (such as {low:g}), expected a label map of integers from 0 on; give the "
            f"label file, or replace these values, e.g. by 0"
        )
    dtype = next((t for t in (np.uint8, np.uint16, np.uint32) if high <= np.iinfo(t).max), None)
    if dtype is None:
        raise DataError(f"{path}: has values up to {high:g}, expected a label map; give the label file")
    return Volume(array.astype(dtype, copy=False), volume.geometry, volume.path, notes)


def _integers(path: Path, array: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Round the values of a label map that are integers but for the way they were stored.

    nibabel stores floats in an integer type as multiples of ``scl_slope``. What was the integer k lies within half a
    slope of k then; where the slope is below 1 no other integer can be meant.

    Raises:
        DataError: for values that are not integers.
    """
    rounded = np.rint(array)
    apart = np.abs(array - rounded)
    worst = int(apart.argmax())
    if apart.flat[worst] <= _LABEL_ROUNDING:
        return rounded, "values within 0.001 of an integer: rounded" if apart.any() else None
    slope, stored = 1.0, ""
    if _is_nifti(path):
        slope = abs(float(read_nifti_header(path)["scl_slope"]))
        stored = f", stored as multiples of scl_slope {slope:.6g}" if np.isfinite(slope) and slope not in (0, 1) else ""
    # float32 keeps 7 digits of a value
    if stored and slope < 1 and (apart <= 0.5 * slope + 1e-6 * np.abs(array)).all():
        return rounded, f"integers stored as multiples of scl_slope {slope:.6g}: the nearest integers taken"
    raise DataError(
        f"{path}: has values that are not integers (such as {float(array.flat[worst]):g}{stored}), expected a label "
        f"map; give the label file, or if it was resampled, resample it again with nearest-neighbour interpolation"
    )


def read_geometry(path: str | os.PathLike) -> Geometry:
    """Read the grid of a volume from its header, without the voxels.

    Raises:
        DataError: if the header cannot be read or used.
    """
    path = Path(path)
    geometry, _ = (read_nifti_grid if _is_nifti(path) else read_itk_grid)(path)
    return geometry


def check_intensities(volume: Volume) -> None:
    """Check that a scan has contents: finite voxels, and not all of one value.

    Raises:
        DataError: if it has NaN or infinite voxels, or every voxel of a channel has the same value.
    """
    _check_finite(volume.path, volume.array)
    for channel in volume.array:
        low = channel.min()
        if low == channel.max():
            raise DataError(
                f"{volume.path}: is empty, every voxel is {low:g}; check that this is the scan and export it again"
            )


def _check_finite(path: Path, array: np.ndarray) -> None:
    # NaN and infinity show in the extremes: no mask of the volume's size unless something is wrong.
    if array.dtype.kind != "f" or (np.isfinite(array.min()) and np.isfinite(array.max())):
        return
    nans = int(np.isnan(array).sum())
    infinite = int(np.isinf(array).sum())
    raise DataError(
        f"{path}: {nans} voxels are NaN and {infinite} infinite (or beyond float32) of {array.size}, expected numbers; "
        f"replace them by the value of the background, e.g. with numpy.nan_to_num"
    )


def _is_nifti(path: Path) -> bool:
    """Look at the path before it is read: True for NIfTI, False for what ITK reads.

    Raises:
        DataError: if there is no file, or none that can be read.
    """
    supported = ", ".join(VOLUME_SUFFIXES)
    if os.path.isdir(path):  # noqa: PTH112  (never raises)
        if _holds_dicom(path):
            raise DataError(
                f"{path}: is a folder of DICOM files, which are not read yet; convert it first, e.g. "
                f"`dcm2niix -z y -o OUTPUT_FOLDER {path}`"
            )
        raise DataError(f"{path}: is a folder, expected one volume file ({supported}); give the file inside it")
    require_file(path)
    suffix = volume_suffix(path)
    if suffix is None and _is_dicom(path):
        raise DataError(
            f"{path}: is a DICOM file, which is not read yet; convert its folder first, e.g. "
            f"`dcm2niix -z y -o OUTPUT_FOLDER {path.parent}`"
        )
    if suffix is None and path.suffix.lower() in (".hdr", ".img"):
        raise DataError(
            f"{path}: header and voxels in two files are not read; convert them, e.g. "
            f"`nibabel.save(nibabel.load('{path.with_suffix('.hdr')}'), '{path.with_suffix('.nii.gz').name}')`"
        )
    if suffix is None:
        raise DataError(f"{path}: unknown kind of file, expected one of {supported}; convert it, e.g. with 3D Slicer")
    return suffix in (".nii", ".nii.gz")


def _holds_dicom(folder: Path) -> bool:
    """Whether DICOM files are among the first that lie in a folder or, where no volumes do, in its first folders."""
    found = sorted(entries(folder))[:5]
    if not any(map(volume_suffix, found)):
        found += [file for inner in found if inner.is_dir() for file in sorted(entries(inner))[:5]]
    return any(map(_is_dicom, found))


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    try:
        require_file(path)
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except (OSError, DataError):
        return False
