"""NRRD and MetaImage files, through SimpleITK, and its images in memory."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from densekit.errors import DataError
from densekit.io.geometry import Geometry, grid_notes
from densekit.structures.notes import CAUTION

if TYPE_CHECKING:
    import SimpleITK

    _Described = SimpleITK.Image | SimpleITK.ImageFileReader

_LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))
_SPACING = re.compile(
    rb"^(ElementSpacing|ElementSize|spacings|space directions)[ \t]*[=:]", re.MULTILINE | re.IGNORECASE
)
"""A line of a header that says how large voxels are."""
_AGAIN = "copy or export the file again"


def read_itk(path: Path) -> tuple[np.ndarray, Geometry, list[str]]:
    """Read ``.nrrd``, ``.mha`` or ``.mhd``.

    Returns:
        Array ``(i, j, k)`` in the order of the file, integer where the values are, else float32; its grid; notes.

    Raises:
        DataError: if the file is not a sound three-dimensional scalar volume.
    """
    geometry, notes, reader = _open(path)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _data_error(path, error) from error
    return _voxels(image, geometry), geometry, notes


def from_itk(image: SimpleITK.Image, name: Path) -> tuple[np.ndarray, Geometry, list[str]]:
    """As :func:`read_itk`, of an image in memory.

    Args:
        image: The image.
        name: What messages call it.
    """
    geometry = _geometry(name, image, image.GetNumberOfComponentsPerPixel(), b"")
    return _voxels(image, geometry), geometry, grid_notes(geometry)


def _voxels(image: SimpleITK.Image, geometry: Geometry) -> np.ndarray:
    import SimpleITK as sitk

    # SimpleITK's arrays are (z, y, x); a 4D file of one volume has a leading 1.
    array = sitk.GetArrayFromImage(image).reshape(geometry.shape[::-1]).T
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which is reported with its count
            array = array.astype(np.float32, copy=False)
    return array


def read_itk_grid(path: Path) -> tuple[Geometry, list[str]]:
    """Read the grid alone, without the voxels.

    Raises:
        DataError: as :func:`read_itk`, but for what only the voxels show.
    """
    geometry, notes, _ = _open(path)
    return geometry, notes


def _open(path: Path) -> tuple[Geometry, list[str], SimpleITK.ImageFileReader]:
    import SimpleITK as sitk

    head = _head(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _data_error(path, error) from error
    geometry = _geometry(path, reader, reader.GetNumberOfComponents(), head)
    notes = []
    if not _SPACING.search(head):
        geometry = replace(geometry, spacing_known=False)
        notes.append(f"{CAUTION}the header says nothing of the spacing: unknown, taken as 1 mm, so no volumes in ml")
    if not re.search(rb"^(TransformMatrix|Rotation|Orientation|space|space dimension)\s*[=:]", head, re.MULTILINE):
        notes.append(
            f"{CAUTION}the header says nothing of the orientation: assumed axes Left, Posterior, Superior, as ITK does"
        )
    return geometry, notes + grid_notes(geometry), reader


def _geometry(path: Path, image: _Described, components: int, head: bytes) -> Geometry:
    """Find the grid of what has one real number per voxel; anything else is refused."""
    _check_kind(path, image, components)
    shape, affine = _shape(path, image), _affine(path, image, head)
    try:
        return Geometry(shape, affine)
    except ValueError as error:
        raise DataError(f"{path}: {error}; correct the axes in the header or {_AGAIN}") from error


def _shape(path: Path, image: _Described) -> tuple[int, int, int]:
    size = image.GetSize()
    shown = " x ".join(map(str, size))
    if len(size) < 3:
        raise DataError(f"{path}: is a 2D file (shape {shown}), expected a 3D volume; stack the slices to one volume")
    if min(size) < 1:
        raise DataError(f"{path}: has an axis without voxels (shape {shown}); {_AGAIN}")
    if max(size[3:], default=1) > 1 and size[0] == 1:
        raise DataError(
            f"{path}: the first of its {len(size)} axes has one voxel (shape {shown}), as where a channel axis stands "
            f"in front, expected a 3D volume; take it away, e.g. with SimpleITK: img = sitk.ReadImage(FILE); "
            f"sitk.WriteImage(sitk.GetImageFromArray(sitk.GetArrayFromImage(img)[..., 0]), NEWFILE), and set its "
            f"spacing, origin and direction from the scan it was made of"
        )
    if max(size[3:], default=1) > 1:
        raise DataError(
            f"{path}: has {len(size)} dimensions (shape {shown}), expected one 3D volume; save the volume you want as "
            f"a file of its own"
        )
    return size[:3]


def _affine(path: Path, image: _Described, head: bytes) -> np.ndarray:
    """Return the map from voxel index to RAS mm (ITK's is to LPS mm)."""
    # ITK would take a negative spacing as a flipped axis; nobody means that.
    if re.search(rb"^(ElementSpacing|ElementSize|spacings)[ \t]*[=:](.*[ \t])?-[.\d]", head, re.MULTILINE):
        raise DataError(f"{path}: negative spacing in the header, expected positive mm; {_AGAIN}")
    spacing = np.array(image.GetSpacing()[:3])
    if not np.isfinite(spacing).all() or spacing.min() <= 0:
        shown = " x ".join(f"{length:g}" for length in spacing)
        raise DataError(
            f"{path}: voxels of {shown} mm (zero or NaN spacing), expected positive numbers; correct the header"
        )
    ndim = image.GetDimension()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (ndim, ndim))[:3, :3] * spacing
    affine[:3, 3] = image.GetOrigin()[:3]
    return _LPS_TO_RAS @ affine


def _head(path: Path) -> bytes:
    """Return the beginning of the file, where the text of its header is."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)  # tags of DICOM may stand before the grid
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: cannot be read ({reason}); check its permissions and the disk") from error
    if not head:
        raise DataError(f"{path}: the file is empty; {_AGAIN}")
    return head


def _check_kind(path: Path, image: _Described, components: int) -> None:
    """Refuse what does not have one real number per voxel."""
    import SimpleITK as sitk

    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise DataError(
            f"{path}: holds complex numbers, expected one real number per voxel; save the magnitude as float32"
        )
    if components > 1 and any(key.startswith("Segment0") for key in image.GetMetaDataKeys()):
        raise DataError(
            f"{path}: is a segmentation of {components} overlapping layers, expected one layer; in 3D Slicer, export "
            f"it as a labelmap (Segmentations > Export to labelmap) and save that"
        )
    if components > 1:
        raise DataError(
            f"{path}: has {components} numbers per voxel (colour or vector), expected one; save each as a file of "
            f"its own"
        )


def _data_error(path: Path, error: RuntimeError) -> DataError:
    """Turn SimpleITK's page of C++ into one line."""
    text = str(error)
    if "Unable to determine ImageIO" in text:
        return DataError(f"{path}: unreadable header, this is not what its name says; {_AGAIN}")
    if "File cannot be read" in text:
        return DataError(
            f"{path}: truncated, or the file with its voxels is missing beside it (.mhd names a .raw file); {_AGAIN}"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "[nrrd]" in text:  # a chain from the outermost function in, the last one knows
        reason = re.sub(r"^(\[nrrd\] )?(\w+: )?", "", lines[-1])
    else:
        reason = re.sub(r"^.*ERROR: (\w+\(0x[0-9a-f]+\): )?", "", next((x for x in lines if "ERROR" in x), lines[-1]))
    return DataError(f"{path}: unreadable or damaged ({reason}); {_AGAIN}")
