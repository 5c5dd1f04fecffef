"""NIfTI files: header and grid through nibabel, voxels decompressed once into the array that is handed out.

``nibabel.load(...).get_fdata()`` makes a float64 copy, and ``gzip`` of the standard library inflates at a third of the
speed of ``isal``. Here the voxels go straight from the decompressor into an array of their stored type.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError, SpatialImage

from densekit.errors import DataError
from densekit.io.geometry import Geometry, grid_notes, in_mm
from densekit.io.qform import compare_forms, is_rounded, read_qform
from densekit.structures.notes import CAUTION

_TO_MM = {1: (1e3, "metres"), 3: (1e-3, "micrometres")}
_MAX_DEFLATE_RATIO = 1032
"""Deflate cannot do better: a header that promises more voxels than this makes of the file is damaged."""

_MOST_CHANNELS = 4
"""A first axis of so few voxels, before three long ones, holds channels."""

_AGAIN = "copy or export the file again"


def read_nifti(path: Path) -> tuple[np.ndarray, Geometry, list[str]]:
    """Read ``.nii`` or ``.nii.gz``.

    Returns:
        Array ``(i, j, k)`` in the order of the file, integer where the values are, else float32; its grid; notes.

    Raises:
        DataError: if the file is not a sound three-dimensional scalar NIfTI volume.
    """
    with _opened(path) as file:
        header = _header(path, file)
        geometry, notes = _grid(path, header)
        dtype = _dtype(path, header)
        _check_size(path, geometry.shape, dtype)
        _skip_to_voxels(path, file, header)
        array = np.empty(geometry.shape, dtype=dtype, order="F")
        # Fortran order: the transposed array is contiguous, its bytes are the file's.
        _fill(path, file, memoryview(array.T).cast("B"))
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return _scaled(path, array, header, notes), geometry, notes


def from_nibabel(image: SpatialImage, name: Path) -> tuple[np.ndarray, Geometry, list[str]]:
    """As :func:`read_nifti`, of an image of nibabel; of another format than NIfTI by its affine alone.

    Args:
        image: The image; its voxels are read where they are not in memory.
        name: What messages call it.
    """
    if not isinstance(image, nib.Nifti1Pair):
        return from_array(_loaded(name, image.dataobj), image.affine, name)
    header = image.header.copy()
    header.set_data_shape(image.shape)
    if image.affine is not None and not np.allclose(image.affine, header.get_best_affine()):
        header.set_sform(image.affine, code="aligned")  # changed in memory: as nibabel would save it
        header.set_qform(image.affine, code="unknown")
    geometry, notes = _grid(name, header)
    lazy = isinstance(image.dataobj, ArrayProxy)
    array = _real_voxels(_loaded(name, image.dataobj, scaled=not lazy).reshape(geometry.shape), name)
    scaling = _scaling(image.dataobj.slope, image.dataobj.inter) if lazy else _scaling()
    return _scaled(name, array, scaling, notes), geometry, notes


def from_array(array: np.ndarray, affine: np.ndarray, name: Path) -> tuple[np.ndarray, Geometry, list[str]]:
    """As :func:`read_nifti`, of an array ``(i, j, k)`` and the map from its indices to RAS mm.

    Args:
        array: Of any real type; a fourth axis may have length 1.
        affine: ``(4, 4)``.
        name: What messages call it.
    """
    if array.ndim < 3 or math.prod(array.shape[3:]) != 1 or not array.size:
        raise DataError(
            f"{name}: array of shape {array.shape}, expected one 3D volume (i, j, k); of several channels give a list "
            f"of one (array, affine) each"
        )
    try:
        geometry = Geometry(array.shape[:3], np.asarray(affine, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: {error}; give the (4, 4) map from voxel index to RAS mm") from error
    array = _real_voxels(array.reshape(geometry.shape), name)
    return _scaled(name, array, _scaling(), []), geometry, grid_notes(geometry)


def _real_voxels(array: np.ndarray, name: Path) -> np.ndarray:
    """Return an array of numbers in this machine's byte order.

    Raises:
        DataError: if it holds anything but real numbers.
    """
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: voxels of type {array.dtype}, expected one real number per voxel; convert them")
    return array.astype(np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("="), copy=False)


def _scaling(slope: float = 1.0, inter: float = 0.0) -> dict[str, float]:
    return {"scl_slope": slope, "scl_inter": inter}


def _loaded(name: Path, stored: Any, *, scaled: bool = True) -> np.ndarray:
    """The voxels of an image of nibabel."""
    try:
        return np.asarray(stored if scaled else stored.get_unscaled())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{name}: its voxels cannot be read ({error}); {_AGAIN}") from error


def read_nifti_grid(path: Path) -> tuple[Geometry, list[str]]:
    """Read the grid alone: only the header's bytes are decompressed.

    Raises:
        DataError: as :func:`read_nifti`, but for what only the voxels show.
    """
    return _grid(path, read_nifti_header(path))


def read_nifti_header(path: Path) -> nib.Nifti1Header:
    """Read the header as it is in the file (``Nifti2Header`` is a child of the class returned).

    Raises:
        DataError: if it cannot be read.
    """
    with _opened(path) as file:
        return _header(path, file)


@contextmanager
def _opened(path: Path):
    """Open for reading, decompressing if the name says so; what goes wrong while reading becomes a DataError."""
    zipped = path.name.lower().endswith(".gz")
    try:
        with path.open("rb") as raw:
            magic = raw.read(2)
            raw.seek(0)
            if not magic:
                raise DataError(f"{path}: the file is empty; {_AGAIN}")
            if zipped and magic != b"\x1f\x8b":
                raise DataError(f"{path}: is not gzip-compressed though its name ends in .gz; rename it or {_AGAIN}")
            if not zipped and magic == b"\x1f\x8b":
                raise DataError(f"{path}: is gzip-compressed; rename it to {path.name}.gz")
            if zipped:
                with igzip.IGzipFile(fileobj=raw, mode="rb") as file:
                    yield file
            else:
                yield raw
    except EOFError as error:
        raise DataError(f"{path}: truncated, the gzip stream ends before its end mark; {_AGAIN}") from error
    except (igzip.BadGzipFile, isal_zlib.error, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip stream ({error}); {_AGAIN}") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: cannot be read ({reason}); check its permissions and the disk") from error


def _header(path: Path, file: IO[bytes]) -> nib.Nifti1Header:
    """Read the header and check that it is one; leaves ``file`` right behind it."""
    start = file.read(348)
    kind = nib.Nifti1Header
    if start[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c"):
        kind = nib.Nifti2Header
        start += file.read(540 - 348)
    if len(start) < kind.template_dtype.itemsize:
        raise DataError(f"{path}: unreadable header, the file ends after {len(start)} bytes; {_AGAIN}")
    # check=False: nibabel's own checks repair some fields and log that; the ones that matter are made below.
    header = kind(start, check=False)
    if header["sizeof_hdr"] != kind.sizeof_hdr or header["magic"].item() != kind.single_magic:
        raise DataError(
            f"{path}: unreadable header, this is not a single-file NIfTI; convert it to .nii.gz "
            f"(a .hdr/.img pair: nibabel.save(nibabel.load('x.hdr'), 'x.nii.gz'))"
        )
    return header


def _shape(path: Path, header: nib.Nifti1Header) -> tuple[int, int, int]:
    ndim = int(header["dim"][0])
    if not 1 <= ndim <= 7:
        raise DataError(f"{path}: unreadable header, it says {ndim} dimensions; {_AGAIN}")
    shape = tuple(int(n) for n in header["dim"][1 : ndim + 1])
    shown = " x ".join(map(str, shape))
    if min(shape) < 1:
        raise DataError(f"{path}: has an axis without voxels (shape {shown}); {_AGAIN}")
    if ndim < 3:
        raise DataError(
            f"{path}: is a {ndim}D file (shape {shown}), expected a 3D volume; stack the slices to one volume"
        )
    count = math.prod(shape[3:])
    if count > 1 and shape[0] == 1:
        at = next(axis for axis, n in enumerate(shape) if n > 1)
        zeros = ", ".join("0" * at)
        raise DataError(
            f"{path}: the first of its {ndim} axes has one voxel (shape {shown}), as where a channel axis stands in "
            f"front, expected a 3D volume; take it away, e.g. with nibabel: img = nib.load(FILE); nib.save("
            f"nib.Nifti1Image(np.asanyarray(img.dataobj)[{zeros}], img.affine), NEWFILE)"
        )
    if count > 1 and ndim == 4 and shape[0] <= _MOST_CHANNELS and min(shape[1:]) > 2 * _MOST_CHANNELS:
        raise DataError(
            f"{path}: holds {shape[0]} volumes along its first axis (shape {shown}), expected one; save each as a file "
            f"of its own, e.g. with nibabel: img = nib.load(FILE); nib.save(nib.Nifti1Image("
            f"np.asanyarray(img.dataobj)[0], img.affine), NEWFILE)"
        )
    if count > 1:
        raise DataError(
            f"{path}: holds {count} volumes (shape {shown}), expected one; save the volume you want as a file of "
            f"its own, e.g. with nibabel: nib.save(nib.load(FILE).slicer[..., 0], NEWFILE)"
        )
    return shape[:3]


def _grid(path: Path, header: nib.Nifti1Header) -> tuple[Geometry, list[str]]:
    """Find the affine as nibabel does (sform, else qform, else a guess), having checked what could make it wrong."""
    shape = _shape(path, header)
    notes: list[str] = []
    pixdim = header["pixdim"][1:4].astype(float)
    if not np.isfinite(pixdim).all() or (pixdim <= 0).any():
        shown = " x ".join(f"{p:g}" for p in pixdim)
        raise DataError(
            f"{path}: voxels of {shown} mm (zero, negative or NaN spacing), expected positive numbers; export the file "
            f"again or set them, e.g. with nibabel: img.header.set_zooms((dx, dy, dz))"
        )
    codes = int(header["sform_code"]), int(header["qform_code"])
    if codes[0] > 0:
        affine = header.get_sform()
    elif codes[1] > 0:
        affine = read_qform(path, header)
    else:
        affine = header.get_base_affine()
        notes.append(f"{CAUTION}neither qform nor sform is set: assumed axes Left, Anterior, Superior, as nibabel does")
    scale, unit = _TO_MM.get(int(header["xyzt_units"]) & 7, (1.0, "mm"))
    if scale != 1.0:
        notes.append(f"lengths are in {unit} by the header: converted to mm")
        affine = np.diag((scale, scale, scale, 1.0)) @ affine
    try:
        geometry = Geometry(shape, affine)
    except ValueError as error:
        which = "sform" if codes[0] > 0 else "qform" if codes[1] > 0 else "pixdim"
        raise DataError(f"{path}: {error} ({which}); correct the {which} in the header or {_AGAIN}") from error
    if codes[1] > 0 and is_rounded(header):
        read = "sform used" if codes[0] > 0 else "read as a half turn"
        notes.append(f"the squares of the qform's quaternion sum to more than 1 by rounding: {read}")
    if min(codes) > 0:
        notes += compare_forms(path, header, geometry, scale)
    elif codes[0] > 0 and not np.allclose(geometry.spacing, scale * pixdim, rtol=0.01):
        notes.append(
            f"{CAUTION}spacing by pixdim is {in_mm(scale * pixdim)}, by the sform {in_mm(geometry.spacing)}: sform used"
        )
    return geometry, notes + grid_notes(geometry)


def _dtype(path: Path, header: nib.Nifti1Header) -> np.dtype:
    remedy = "save it with one number per voxel (int16, float32 ...)"
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:  # a code that nibabel cannot read, or does not know
        raise DataError(f"{path}: unreadable header, data type code {int(header['datatype'])}; {remedy}") from error
    if dtype.fields is not None:
        raise DataError(f"{path}: holds colours (RGB), expected one number per voxel; {remedy}")
    if dtype.kind == "c":
        raise DataError(f"{path}: holds complex numbers, expected one real number per voxel; {remedy}")
    if dtype.itemsize == 0:
        raise DataError(f"{path}: unreadable header, data type code {int(header['datatype'])}; {remedy}")
    return dtype


def _check_size(path: Path, shape: tuple[int, int, int], dtype: np.dtype) -> None:
    """Refuse before memory is asked for what the file cannot hold."""
    promised = math.prod(shape) * dtype.itemsize
    ratio = _MAX_DEFLATE_RATIO if path.name.lower().endswith(".gz") else 1
    there = path.stat().st_size
    if promised > there * ratio:
        raise _truncated(path, promised, there)


def _truncated(path: Path, promised: int, there: int) -> DataError:
    return DataError(
        f"{path}: truncated or damaged, the header promises {promised} bytes of voxels, there are {there}; {_AGAIN}"
    )


def _skip_to_voxels(path: Path, file: IO[bytes], header: nib.Nifti1Header) -> None:
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or offset < 0:
        raise DataError(f"{path}: unreadable header, the voxels begin at byte {offset}; {_AGAIN}")
    # 0 stands for "right behind the header and its 4 extension bytes".
    file.seek(max(int(offset), header.single_vox_offset))


def _fill(path: Path, file: IO[bytes], target: memoryview) -> None:
    """Read until ``target`` is full, then on to the end: the checksum of a gzip stream is only compared there."""
    filled = 0
    while filled < len(target):
        count = file.readinto(target[filled : filled + (1 << 24)])
        if not count:
            raise _truncated(path, len(target), filled)
        filled += count
    while file.read(1 << 20):
        pass


def _scaled(path: Path, array: np.ndarray, header: Mapping[str, Any], notes: list[str]) -> np.ndarray:
    """Apply ``scl_slope`` and ``scl_inter``; integers stay integers where slope and intercept are integral."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope):
        notes.append(f"{CAUTION}scl_slope is {slope}: values taken as they are stored, not scaled")
    if not math.isfinite(slope) or slope == 0:
        slope, inter = 1.0, 0.0  # the standard: then the data are not scaled
    elif not math.isfinite(inter):
        notes.append(f"{CAUTION}scl_inter is {inter}: taken as 0")
        inter = 0.0
    if array.dtype.kind in "iu":
        if (slope, inter) == (1.0, 0.0):
            return array
        if slope.is_integer() and inter.is_integer():
            exact = _scaled_integers(array, int(slope), int(inter))
            if exact is not None:
                return exact
    elif (slope, inter) == (1.0, 0.0):
        with np.errstate(over="ignore"):  # becomes infinite, which is reported with its count
            return array.astype(np.float32, copy=False)
    scaled = np.empty(array.shape, dtype=np.float32, order="F")
    with np.errstate(over="ignore"):
        for k in range(array.shape[2]):  # slice by slice: float64 precision without a float64 volume
            scaled[..., k] = array[..., k] * np.float64(slope) + np.float64(inter)
    return scaled


def _scaled_integers(array: np.ndarray, slope: int, inter: int) -> np.ndarray | None:
    """Return ``array * slope + inter`` in the smallest fitting of a few integer types; None if it fits none of them."""
    ends = [int(end) * slope + inter for end in (array.min(), array.max())]
    for dtype in (array.dtype, np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.int64)):
        limits = np.iinfo(dtype)
        if all(limits.min <= value <= limits.max for value in (*ends, slope, inter)):
            # Products may wrap around; the sum wraps back, because the result fits.
            scaled = array.astype(dtype)
            scaled *= dtype.type(slope)
            scaled += dtype.type(inter)
            return scaled
    return None
