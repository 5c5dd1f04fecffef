"""Volumes that are in memory already: the same voxels on the same grid as from their file."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from densekit.errors import DataError
from densekit.io import as_volume, read_volume, to_itk, to_nibabel, write_image

VALUES = np.random.default_rng(0).integers(-900, 900, (5, 6, 7)).astype(np.int16)
OBLIQUE = nib.affines.from_matvec(
    [[-0.2, 1.9, 0.3], [0.1, 0.4, -2.4], [-1.4, -0.2, -0.4]],  # axes to Inferior, Right and Posterior, off the right
    [10, -20, 30],
)


@pytest.fixture
def orthogonal():
    """An affine of the axes of ``OBLIQUE``, at right angles: SimpleITK holds no other."""
    turn, _ = np.linalg.qr(OBLIQUE[:3, :3])
    turn = turn @ np.diag(np.sign(np.diag(turn.T @ OBLIQUE[:3, :3])))
    return nib.affines.from_matvec(turn @ np.diag([1.5, 2.0, 2.5]), OBLIQUE[:3, 3])


def same(one, other, dtype=None):
    assert one.geometry.shape == other.geometry.shape
    np.testing.assert_allclose(one.geometry.affine, other.geometry.affine, atol=1e-4)
    np.testing.assert_array_equal(one.array, other.array)
    assert one.array.dtype == other.array.dtype == (dtype or one.array.dtype)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64, ">i2"])
def test_an_oblique_scan_is_the_same_in_all_forms(tmp_path, orthogonal, dtype):
    values = VALUES.astype(dtype)
    image = nib.Nifti1Image(values, orthogonal)
    path = tmp_path / "scan.nii.gz"
    nib.save(image, path)
    from_file = read_volume(path)
    assert from_file.geometry.orientation not in ("RAS", "LPS")
    for source in (str(path), image, nib.load(path), (values, orthogonal), sitk.ReadImage(str(path))):
        volume = as_volume(source)
        same(volume, from_file)
        assert volume.array.flags.writeable and volume.array.flags.c_contiguous


@pytest.mark.parametrize("slope", [2.0, 0.5])
def test_a_scaled_file_is_read_as_from_its_path(tmp_path, slope):
    image = nib.Nifti1Image(VALUES, OBLIQUE)
    image.header.set_slope_inter(slope, 3)
    path = tmp_path / "scan.nii"
    nib.save(image, path)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([slope, 3], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(raw)
    same(as_volume(nib.load(path)), read_volume(path), np.int16 if slope == 2 else np.float32)


def test_an_affine_changed_in_memory_counts():
    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.affine[:3, 3] = 7, 8, 9
    assert as_volume(image).geometry.affine[:3, 3].tolist() == [7, 8, 9]


def test_other_formats_of_nibabel_go_by_their_affine():
    same(as_volume(nib.MGHImage(VALUES.astype(np.float32), OBLIQUE)), as_volume((VALUES.astype(np.float32), OBLIQUE)))


def test_what_is_given_is_not_changed():
    values = VALUES.copy()
    values.flags.writeable = False
    volume = as_volume((values, np.diag([-1.0, -1, 1, 1])))
    volume.array[:] = 0
    np.testing.assert_array_equal(values, VALUES)


def test_notes_of_the_header_are_kept(tmp_path):
    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.header.set_xyzt_units("micron")
    assert as_volume(image).geometry.spacing == pytest.approx((1e-3,) * 3)
    assert "micrometres" in as_volume(image).notes[0]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (VALUES, "scan: ndarray given, expected a file, a nibabel or SimpleITK image, or (array, affine)"),
        (None, "scan: None given"),
        ((VALUES, np.zeros((4, 4))), "(array, affine): the affine is not a 4x4 matrix with last row 0 0 0 1"),
        ((VALUES, np.diag([0.0, 1, 1, 1])), "(array, affine): zero spacing"),
        ((VALUES, "RAS"), "(array, affine): could not convert string to float"),
        ((VALUES[0], np.eye(4)), "(array, affine): array of shape (6, 7), expected one 3D volume (i, j, k)"),
        ((np.stack([VALUES] * 2, -1), np.eye(4)), "give a list of one (array, affine) each"),
        ((VALUES.astype(complex), np.eye(4)), "(array, affine): voxels of type complex128"),
        ((np.full((2, 2, 2), np.nan), np.eye(4)), "(array, affine): 8 voxels are NaN"),
        (nib.Nifti1Image(np.stack([VALUES] * 2, -1), np.eye(4)), "nibabel image: holds 2 volumes"),
        (sitk.GetImageFromArray(VALUES[0]), "SimpleITK image: is a 2D file"),
        (sitk.GetImageFromArray(VALUES, isVector=True), "SimpleITK image: has 7 numbers per voxel"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(source, message):
    with pytest.raises(DataError) as caught:
        as_volume(source)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_voxels_of_a_file_that_is_gone(tmp_path):
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(VALUES, OBLIQUE), path)
    image = nib.load(path)
    path.unlink()
    with pytest.raises(DataError, match=r"scan\.nii: its voxels cannot be read"):
        as_volume(image)


def test_a_label_map_goes_back_to_the_libraries(tmp_path, orthogonal):
    volume = as_volume((VALUES, orthogonal))
    labels = (volume.array[0] > 0).astype(np.uint8)
    ours, itk = to_nibabel(labels, volume.geometry), to_itk(labels, volume.geometry)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), VALUES > 0)
    np.testing.assert_allclose(ours.affine, orthogonal, atol=1e-5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk).T, VALUES > 0)
    write_image(tmp_path / "a.mha", labels, volume.geometry)
    again = read_volume(tmp_path / "a.mha")
    assert again.geometry.difference(volume.geometry) is None and again.path == Path(tmp_path / "a.mha")


def test_a_sheared_grid_is_nibabels_alone():
    volume = as_volume((VALUES, OBLIQUE))
    assert volume.geometry.skew_degrees > 1 and "sheared" in volume.notes[0]
    labels = np.zeros(volume.geometry.canonical_shape, np.uint8)
    np.testing.assert_allclose(to_nibabel(labels, volume.geometry).affine, OBLIQUE, atol=1e-5)
