"""What qforms off by rounding, or no rotation at all, give beside a sform and alone, in both kinds of NIfTI."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from densekit.errors import DataError
from densekit.io import read_volume

VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
TURNED = {
    "about x": (np.diag((1.5, -1.5, -3.0)), (1.000001, 0.0, 0.0)),
    "about y": (np.diag((-1.5, 1.5, -3.0)), (0.0, 1.000001, 0.0)),
    "about z": (np.diag((-1.5, -1.5, 3.0)), (0.0, 0.0, 1.000001)),
    "about a diagonal": (
        np.array([[0, 1.5, 0], [1.5, 0, 0], [0, 0, -1.5]]) * (1, 1, 2),
        (0.70710749, 0.70710749, 0.0),
    ),
}


def write(path, matrix, quaternion, *, sform, kind=nib.Nifti1Image):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, (-30, -20, 5)
    image = kind(VALUES, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    size = 348 if kind is nib.Nifti1Image else 540
    data = bytearray(image.to_bytes())
    header = kind.header_class(bytes(data[:size]), check=False)
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = quaternion
    header["qform_code"], header["sform_code"] = 1, int(sform)
    data[:size] = header.binaryblock
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path, affine


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("sform", [True, False])
@pytest.mark.parametrize("turned", TURNED)
def test_rounding_is_read_and_said(tmp_path, kind, name, sform, turned):
    path, affine = write(tmp_path / name, *TURNED[turned], sform=sform, kind=kind)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.geometry.affine, affine, atol=1e-5)
    assert ["rounding" in note for note in volume.notes] == [True]
    assert ("sform used" in volume.notes[0]) == sform


@pytest.mark.parametrize("quaternion", [(0.9, 0.9, 0.9), (3.0, 0, 0), (1.001, 0, 0)])
def test_no_rotation_is_passed_over_beside_a_sform_and_refused_alone(tmp_path, quaternion):
    matrix = TURNED["about z"][0]
    path, affine = write(tmp_path / "a.nii", matrix, quaternion, sform=True)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.geometry.affine, affine)
    assert volume.notes == ("caution: the qform is no rotation: sform used",)
    with pytest.raises(DataError, match="export the file again, with a sform"):
        read_volume(write(tmp_path / "b.nii", matrix, quaternion, sform=False)[0])


@pytest.mark.parametrize("sform", [True, False])
@pytest.mark.parametrize("turned", TURNED)
def test_nothing_is_said_of_a_qform_as_nibabel_writes_it(tmp_path, sform, turned):
    affine = np.eye(4)
    affine[:3, :3] = TURNED[turned][0]
    image = nib.Nifti1Image(VALUES, affine)
    image.set_sform(affine, int(sform))
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").notes == ()
