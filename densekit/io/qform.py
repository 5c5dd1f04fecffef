"""The qform of a NIfTI header: a quaternion, read with a writer's rounding, and compared with the sform."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from densekit.errors import DataError
from densekit.io.geometry import Geometry, in_mm
from densekit.structures.notes import CAUTION

_SPACES = {1: "scanner", 2: "aligned", 3: "talairach", 4: "mni", 5: "template"}
_QUATERNION_ROUNDING = 1e-5
_QFORM_FIX = (
    "set both to the right one, e.g. with nibabel: img = nib.load(FILE); "
    "img.set_qform(img.get_sform(), code=int(img.header['sform_code'])); nib.save(img, NEWFILE)"
)


def read_qform(path: Path, header: nib.Nifti1Header) -> np.ndarray:
    """Read the qform; squares of its quaternion that sum to 1 but for a writer's rounding are taken for 1.

    Raises:
        DataError: if they sum to more, or it holds NaN.
    """
    header = header.copy()
    if is_rounded(header):
        shorter = 1 / (math.sqrt(_squares(header)) * (1 + np.finfo(header["quatern_b"].dtype).eps))
        for axis in "bcd":
            header[f"quatern_{axis}"] = float(header[f"quatern_{axis}"]) * shorter
    if header["pixdim"][0] == 0:  # the standard reads 0 as 1, nibabel refuses it
        header["pixdim"][0] = 1
    try:
        return header.get_qform()
    except (HeaderDataError, ValueError) as error:
        raise DataError(
            f"{path}: unreadable qform in the header ({error}) and no sform; export the file again, with a sform"
        ) from error


def is_rounded(header: nib.Nifti1Header) -> bool:
    """Whether the squares of a quaternion sum to more than 1, by more than nibabel takes and no more than rounding."""
    return abs(header.quaternion_threshold) < _squares(header) - 1 <= _QUATERNION_ROUNDING


def _squares(header: nib.Nifti1Header) -> float:
    """The sum of the squares of a qform's quaternion without its real part, 1 at most."""
    return sum(float(header[f"quatern_{axis}"]) ** 2 for axis in "bcd")


def compare_forms(path: Path, header: nib.Nifti1Header, geometry: Geometry, scale: float) -> list[str]:
    """Compare qform and sform where both are set; the sform is the one in use.

    A qform cannot hold shear and keeps a rotation with a limited precision, so the comparison is with the qform that
    the sform would make. Two forms of different code (scanner and aligned, say) may name two spaces on purpose, as
    SPM's coregistration does: then a rigid motion between them is only noted.

    Raises:
        DataError: if they differ by more than a voxel edge at the farthest corner, and no such purpose explains it.
    """
    remade = header.copy()
    remade.set_qform(header.get_sform(), code=1)
    scaling = np.diag((scale, scale, scale, 1.0))
    try:
        found = read_qform(path, header)
    except DataError:
        return [f"{CAUTION}the qform is no rotation: sform used"]
    try:
        qform = Geometry(geometry.shape, scaling @ found)
        sform = Geometry(geometry.shape, scaling @ read_qform(path, remade))
    except ValueError as error:
        raise DataError(f"{path}: unusable qform in the header: {error}; {_QFORM_FIX}") from error
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in geometry.shape])).reshape(3, -1)
    moved = (qform.affine - sform.affine) @ np.vstack([ends, np.ones(8)])
    apart = float(np.linalg.norm(moved[:3], axis=0).max())
    edge = min(geometry.spacing)
    names = [_SPACES.get(int(header[f"{form}_code"]), "unknown code") for form in ("qform", "sform")]
    shown = (
        f"qform ({names[0]}, {qform.orientation}, {in_mm(qform.spacing)}) and sform ({names[1]}, "
        f"{geometry.orientation}, {in_mm(geometry.spacing)}) are {apart:.3g} mm apart at the farthest corner"
    )
    alike = qform.orientation == sform.orientation and np.allclose(qform.spacing, sform.spacing, rtol=0.01)
    if apart > edge and not (alike and header["qform_code"] != header["sform_code"]):
        raise DataError(f"{path}: {shown}; {_QFORM_FIX}")
    return [f"{CAUTION}{shown}: sform used"] if apart > 0.1 * edge else []
