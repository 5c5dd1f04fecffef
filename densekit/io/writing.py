"""Writing volumes: label maps on exactly the grid of the scan they were made from, and images.

A file appears by rename when it is complete and its grid has been read back and compared.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from isal import igzip

from densekit.errors import DataError, OutputError
from densekit.io.atomic import atomic_path, write_json_atomic
from densekit.io.geometry import Geometry
from densekit.io.itk import read_itk
from densekit.io.nifti import read_nifti_header
from densekit.io.volume import read_geometry, volume_stem, volume_suffix

if TYPE_CHECKING:
    import SimpleITK

_WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
_LPS = np.diag((-1.0, -1.0, 1.0))


def write_label(
    path: str | os.PathLike,
    labels: np.ndarray,
    geometry: Geometry,
    *,
    like: str | os.PathLike | None,
    names: Sequence[str] | None,
) -> None:
    """Write a label map on the grid of the scan, and the names of its labels as JSON beside it.

    A NIfTI label has the header of the scan: the same qform, sform, their codes, units and description. Only what
    speaks of the voxels is its own: data type, scaling, display range, intent, and no header extensions. The label of
    a 4D file of one volume is 3D.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``; need not be the format of the scan.
        labels: ``(D, H, W)`` on the canonical grid, integers from 0 to 65535 (or bool).
        geometry: Grid of the scan.
        like: The scan, whose NIfTI header is taken over. None, or a scan of another format: a new header.
        names: Names by label value, ``names[0]`` is ``"background"``; written to ``<stem>.labels.json``. None: no such
            file.

    Raises:
        OutputError: if the file cannot be written, or is the scan itself.
        DataError: if ``like`` cannot be read or is not on the grid of ``geometry`` (any more).
        ValueError: if ``labels`` are not integers in range, have another shape than ``geometry``, or lack names.
    """
    path = Path(path)
    suffix = _output_suffix(path)
    if labels.dtype.kind not in "iub":
        raise ValueError(f"labels of type {labels.dtype}, expected integers")
    array = geometry.restore(labels)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise ValueError(f"labels from {low} to {high}, expected 0 to 65535")
    if names is not None and high >= len(names):
        raise ValueError(f"label {high} has no name, there are {len(names)}")
    array = array.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)
    if like is not None:
        like = Path(like)
        if path.exists() and path.samefile(like):
            raise OutputError(f"{path}: is the scan itself; choose another output path")
        if read_geometry(like) != geometry:
            raise DataError(
                f"{like}: its grid is not the one that was predicted; was the file replaced? predict it again"
            )
    header = None
    if suffix.startswith(".nii"):
        taken_over = like is not None and (volume_suffix(like) or "").startswith(".nii")
        header = _label_header(like) if taken_over else _new_header(geometry)
        header["cal_max"] = max(high, 1)
    with atomic_path(path) as temporary:
        _write(path, temporary, array, geometry, header)
        if names is not None:
            # Before the rename: where the label map is, its names are.
            write_json_atomic(labels_json(path), {str(value): name for value, name in enumerate(names)})


def write_image(path: str | os.PathLike, array: np.ndarray, geometry: Geometry) -> None:
    """Write an image volume with a new header.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.
        array: ``(D, H, W)`` or ``(1, D, H, W)`` on the canonical grid. float64 and float16 become float32, bool uint8.
        geometry: The grid to write it on.

    Raises:
        OutputError: if the file cannot be written.
        ValueError: if ``array`` has several channels (they are files of their own) or another shape than ``geometry``.
    """
    path = Path(path)
    suffix = _output_suffix(path)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3:
        raise ValueError(f"array of shape {array.shape}, expected (D, H, W) or (1, D, H, W)")
    array = geometry.restore(array)
    stored = {"f": np.dtype(np.float32), "b": np.dtype(np.uint8)}.get(array.dtype.kind, array.dtype)
    header = _new_header(geometry) if suffix.startswith(".nii") else None
    with atomic_path(path) as temporary:
        _write(path, temporary, array.astype(stored, copy=False), geometry, header)


def labels_json(path: str | os.PathLike) -> Path:
    """Return where the names of a label map lie: ``scan.labels.json`` for ``scan.nii.gz``."""
    return Path(path).with_name(f"{volume_stem(path)}.labels.json")


def _output_suffix(path: Path) -> str:
    suffix = volume_suffix(path)
    if suffix not in _WRITABLE:
        instead = f"{volume_stem(path)}.mha" if suffix == ".mhd" else f"{path.stem}.nii.gz"
        why = "would be two files, which cannot appear at once" if suffix == ".mhd" else "unknown kind of volume file"
        raise OutputError(f"{path}: {why}, expected one of {', '.join(_WRITABLE)}; write {instead}")
    return suffix


def _label_header(like: Path) -> nib.Nifti1Header:
    """Copy the header of a scan and clear what described its voxels."""
    header = read_nifti_header(like).as_byteswapped("<")
    header.set_intent("none")
    header["cal_min"] = 0
    header["vox_offset"] = 0  # nibabel fills it in; the scan's extensions are not taken over
    return header


def _new_header(geometry: Geometry) -> nib.Nifti1Header:
    header = nib.Nifti1Header() if max(geometry.shape) <= np.iinfo(np.int16).max else nib.Nifti2Header()
    header.set_data_shape(geometry.shape)
    header.set_zooms(geometry.spacing)
    header.set_xyzt_units("mm")
    header.set_sform(geometry.affine, code="scanner")
    # A qform cannot hold shear: rather none than one that contradicts the sform.
    if geometry.skew_degrees < 0.1:
        header.set_qform(geometry.affine, code="scanner")
    return header


def _write_nifti(path: Path, array: np.ndarray, header: nib.Nifti1Header) -> None:
    """Write an array ``(i, j, k)`` under a header whose qform and sform stay as they are."""
    image = _nifti_image(array, None, header)
    if path.name.lower().endswith(".gz"):
        # No name and no time in the gzip header: the same labels make the same bytes.
        with path.open("wb") as raw, igzip.IGzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
            image.to_stream(file)
    else:
        with path.open("wb") as file:
            image.to_stream(file)


def _nifti_image(array: np.ndarray, affine: np.ndarray | None, header: nib.Nifti1Header) -> nib.Nifti1Image:
    header.set_data_dtype(array.dtype)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    return kind(array, affine, header)


def to_nibabel(labels: np.ndarray, geometry: Geometry) -> nib.Nifti1Image:
    """A label map ``(D, H, W)`` as nibabel's image on the file grid, with a new header."""
    return _nifti_image(geometry.restore(labels), geometry.affine, _new_header(geometry))


def to_itk(labels: np.ndarray, geometry: Geometry) -> SimpleITK.Image:
    """A label map ``(D, H, W)`` as SimpleITK's image on the file grid.

    Raises:
        OutputError: if the axes are not at right angles, as SimpleITK's are.
    """
    try:
        return _itk_image(geometry.restore(labels), geometry)
    except RuntimeError as error:
        raise OutputError("SimpleITK cannot hold this sheared grid; take nibabel's image instead") from error


def _itk_image(array: np.ndarray, geometry: Geometry) -> SimpleITK.Image:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    affine = _LPS @ geometry.affine[:3]
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(affine[:, 3].tolist())
    image.SetDirection((affine[:, :3] / geometry.spacing).ravel().tolist())
    return image


def _write_itk(path: Path, temporary: Path, array: np.ndarray, geometry: Geometry) -> None:
    import SimpleITK as sitk

    image = _itk_image(array, geometry)
    try:
        sitk.WriteImage(image, str(temporary), useCompression=True)
        # ITK does not notice when the last bytes of a NRRD file find no space: only reading back shows it.
        written, _, _ = read_itk(temporary)
    except (RuntimeError, DataError) as error:
        raise OutputError(f"{path}: cannot be written; check the folder's permissions and free space") from error
    if not np.array_equal(written, array):
        raise OutputError(f"{path}: what was written reads back differently; check the disk")


def _write(path: Path, temporary: Path, array: np.ndarray, geometry: Geometry, header: nib.Nifti1Header | None) -> None:
    """Write an array ``(i, j, k)``, as NIfTI if there is a header; nothing leaves on another grid than asked for."""
    if header is None:
        _write_itk(path, temporary, array, geometry)
    else:
        _write_nifti(temporary, array, header)
    difference = read_geometry(temporary).difference(geometry, tolerance_mm=0.01 * min(geometry.spacing))
    if difference:
        raise OutputError(f"{path}: this format cannot hold the grid ({difference}); write .nii.gz instead")
