"""What is the same for every format: the canonical grid, labels, and paths that are no volume."""

import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from densekit.errors import DataError
from densekit.io import (
    Volume,
    check_intensities,
    read_geometry,
    read_label,
    read_volume,
    volume_stem,
    volume_suffix,
    write_image,
)

SHAPE = (3, 4, 5)
VALUES = np.arange(60, dtype=np.int16).reshape(SHAPE)


def save(path, array=VALUES, affine=None):
    nib.save(nib.Nifti1Image(array, np.diag((-1.0, -1.0, 2.0, 1.0)) if affine is None else affine), path)
    return path


@pytest.mark.parametrize("kind", ["aligned", "oblique", "sheared"])
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAS", "PSR", "SAL", "IRP"])
def test_formats_agree_on_array_and_grid(tmp_path, make_affine, orientation, kind):
    path = save(tmp_path / "a.nii.gz", affine=make_affine(orientation, kind))
    nifti = read_volume(path)
    for suffix in (".nrrd", ".mha"):
        write_image(tmp_path / f"b{suffix}", nifti.array, nifti.geometry)
        other = read_volume(tmp_path / f"b{suffix}")
        np.testing.assert_array_equal(other.array, nifti.array)
        assert other.array.dtype == nifti.array.dtype
        assert other.geometry.shape == nifti.geometry.shape
        assert other.geometry.difference(nifti.geometry, tolerance_mm=1e-5) is None


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PSR"])
def test_marked_voxel_is_where_simpleitk_sees_it(tmp_path, make_affine, orientation):
    """An independent reader of the same file must put the marked voxel at the same point of the patient."""
    array = np.zeros(SHAPE, np.int16)
    array[1, 3, 2] = 100
    path = save(tmp_path / "a.nii.gz", array, make_affine(orientation, "oblique"))
    volume = read_volume(path)
    (index,) = np.argwhere(volume.array[0] == 100)
    ours = nib.affines.apply_affine(volume.geometry.canonical_affine, index)
    image = sitk.ReadImage(str(path))
    lps = image.TransformIndexToPhysicalPoint((1, 3, 2))
    assert image[1, 3, 2] == 100
    np.testing.assert_allclose(ours, (-lps[0], -lps[1], lps[2]), atol=1e-4)


def test_canonical_array_of_an_lps_file_is_that_of_simpleitk(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(path).array[0], sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def test_geometry_alone_is_that_of_the_volume(tmp_path, make_affine):
    path = save(tmp_path / "a.nii.gz", affine=make_affine("PSR", "oblique"))
    assert read_geometry(path) == read_volume(path).geometry


class TestLabel:
    @pytest.mark.parametrize(
        ("dtype", "high", "expected"),
        [
            (np.uint8, 3, np.uint8),
            (np.int16, 255, np.uint8),
            (np.int16, 256, np.uint16),
            (np.int32, 70000, np.uint32),
            (np.float32, 13, np.uint8),
            (np.float64, 1000, np.uint16),
        ],
    )
    def test_integers_come_as_the_smallest_unsigned_type(self, tmp_path, dtype, high, expected):
        labels = (VALUES % 3).astype(dtype)
        labels[0, 0, 0] = high
        label = read_label(save(tmp_path / "a.nii.gz", labels))
        assert label.array.dtype == expected and label.array.shape == (1, 5, 4, 3)
        np.testing.assert_array_equal(label.geometry.restore(label.array[0]), labels)
        assert label.notes == ()

    def test_noise_of_a_scale_factor_is_rounded_and_noted(self, tmp_path):
        labels = (VALUES % 3) * np.float32(0.9999)
        label = read_label(save(tmp_path / "a.nii.gz", labels))
        np.testing.assert_array_equal(label.geometry.restore(label.array[0]), VALUES % 3)
        assert label.notes == ("values within 0.001 of an integer: rounded",)

    def test_fractions_are_refused_with_an_example(self, tmp_path):
        labels = (VALUES % 3).astype(np.float32)
        labels[1, 1, 1] = 1.25
        path = save(tmp_path / "a.nii.gz", labels)
        message = (
            r"a\.nii\.gz: has values that are not integers \(such as 1\.25\), expected a label map; give the label"
        )
        with pytest.raises(DataError, match=message):
            read_label(path)

    @pytest.mark.parametrize("dtype", [np.int16, np.float32])
    def test_negative_values_are_refused_with_an_example(self, tmp_path, dtype):
        path = save(tmp_path / "a.nii.gz", (VALUES - 5).astype(dtype))
        message = r"a\.nii\.gz: has negative values \(such as -5\), expected a label map of integers from 0 on; give"
        with pytest.raises(DataError, match=message):
            read_label(path)

    def test_values_beyond_any_label_are_refused(self, tmp_path):
        path = save(tmp_path / "a.nii.gz", VALUES * np.float32(1e12))
        with pytest.raises(DataError, match=r"has values up to 5\.9e\+13, expected a label map; give the label file"):
            read_label(path)


class TestNoVolume:
    @pytest.fixture(params=[read_volume, read_label, read_geometry])
    def refuse(self, request):
        def check(path, message):
            with pytest.raises(DataError, match=message) as caught:
                request.param(path)
            text = str(caught.value)
            assert text.startswith(f"{path}: ") and "\n" not in text

        return check

    def test_missing(self, tmp_path, refuse):
        refuse(tmp_path / "a.nii.gz", "no such file; check the path")
        refuse(str(tmp_path / "a.nrrd"), "no such file; check the path")

    def test_path_through_a_file(self, tmp_path, refuse):
        (tmp_path / "a").touch()
        refuse(tmp_path / "a" / "b.nii", "cannot be read .Not a directory.; check the path and its permissions")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    @pytest.mark.parametrize("suffix", [".nii", ".nrrd"])
    def test_no_permission(self, tmp_path, refuse, suffix):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"x")
        path.chmod(0)
        refuse(path, "cannot be read .Permission denied.; check its permissions and the disk")

    def test_folder(self, tmp_path, refuse):
        save(tmp_path / "a.nii")
        refuse(tmp_path, r"is a folder, expected one volume file \(\.nii\.gz, \.nii, .*\); give the file inside it")

    def test_folder_called_like_a_file(self, tmp_path, refuse):
        (tmp_path / "a.nii").mkdir()
        refuse(tmp_path / "a.nii", "is a folder, expected one volume file")

    def test_dicom(self, tmp_path, refuse):
        folder = tmp_path / "series"
        folder.mkdir()
        (folder / "IM000001").write_bytes(bytes(128) + b"DICM" + bytes(50))
        refuse(
            folder,
            "is a folder of DICOM files, which are not read yet; convert it first, e.g. `dcm2niix -z y -o .*series`",
        )
        refuse(tmp_path, "is a folder of DICOM files, .* `dcm2niix -z y -o OUTPUT_FOLDER .*`")
        refuse(folder / "IM000001", "is a DICOM file, which is not read yet; convert its folder first, e.g. `dcm2niix")
        (folder / "IM000001").rename(folder / "a.dcm")
        refuse(folder / "a.dcm", "is a DICOM file")

    @pytest.mark.parametrize("name", ["a.mgz", "a.gz", "a.nii.bz2", "a", ".nii"])
    def test_unknown_kind(self, tmp_path, refuse, name):
        (tmp_path / name).write_bytes(b"x")
        message = r"unknown kind of file, expected one of \.nii\.gz, \.nii, \.nrrd, \.mha, \.mhd; convert it"
        refuse(tmp_path / name, message)

    @pytest.mark.parametrize("name", ["a.hdr", "a.img"])
    def test_pair_of_files(self, tmp_path, refuse, name):
        (tmp_path / name).write_bytes(b"x")
        refuse(
            tmp_path / name, r"header and voxels in two files are not read; convert them, e\.g\. `nibabel\.save.*a\.hdr"
        )


class TestCheckIntensities:
    @staticmethod
    def volume(array, tmp_path):
        return Volume(array[None], read_geometry(save(tmp_path / "a.nii")), tmp_path / "a.nii")

    def test_contents_pass(self, tmp_path):
        check_intensities(self.volume(VALUES.T, tmp_path))
        check_intensities(self.volume(VALUES.T.astype(np.float32), tmp_path))

    @pytest.mark.parametrize("value", [0, -1024])
    def test_constant(self, tmp_path, value):
        with pytest.raises(DataError, match=rf"a\.nii: is empty, every voxel is {value}; check that this is the scan"):
            check_intensities(self.volume(np.full((5, 4, 3), value, np.int16), tmp_path))

    def test_not_a_number(self, tmp_path):
        array = VALUES.T.astype(np.float32)
        array[0, 0, 0] = np.nan
        with pytest.raises(DataError, match=r"a\.nii: 1 voxels are NaN"):
            check_intensities(self.volume(array, tmp_path))


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("scan.nii.gz", "scan", ".nii.gz"),
        ("scan.v1.2.NII", "scan.v1.2", ".nii"),
        ("a.seg.nrrd", "a.seg", ".nrrd"),
        ("folder.nii/a.mha", "a", ".mha"),
        ("a.png", "a.png", None),
    ],
)
def test_names(name, stem, suffix):
    assert (volume_stem(name), volume_suffix(name)) == (stem, suffix)


class TestLabelsStoredAsMultiples:
    """nibabel stores the floats of a label map in an integer type as multiples of a slope."""

    @staticmethod
    def save(path, values, dtype):
        image = nib.Nifti1Image(np.asarray(values, np.float64), np.eye(4))
        image.set_data_dtype(dtype)
        nib.save(image, path)
        return path

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16])
    @pytest.mark.parametrize("highest", [1, 2, 3, 13, 61, 104, 200])
    def test_the_integers_come_back(self, tmp_path, suffix, dtype, highest):
        steps = sorted({0, 1, highest // 2, highest - 1, highest})
        values = np.resize(steps, (4, 5, 6))
        path = self.save(tmp_path / f"a{suffix}", values, dtype)
        label = read_label(path)
        np.testing.assert_array_equal(label.geometry.restore(label.array[0]), values)
        slope = abs(float(nib.load(path).dataobj.slope))
        off = np.abs(nib.load(path).get_fdata() - values).max()
        assert any("scl_slope" in note for note in label.notes) == (off > 1e-3 and slope != 1)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16])
    @pytest.mark.parametrize("highest", [1, 2, 13, 61])
    def test_resampled_labels_are_refused_and_the_slope_is_named(self, tmp_path, dtype, highest):
        values = np.resize(np.linspace(0, highest, 37), (4, 5, 6))
        with pytest.raises(DataError, match=r"not integers .* scl_slope .* nearest-neighbour"):
            read_label(self.save(tmp_path / "a.nii", values, dtype))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_resampled_floats_are_refused(self, tmp_path, dtype):
        values = np.resize([0, 0.37, 1, 1.5], (4, 5, 6))
        with pytest.raises(DataError, match=r"such as 1\.5\)"):
            read_label(self.save(tmp_path / "a.nii", values, dtype))

    def test_a_slope_above_1_cannot_tell_neighbours_apart(self, tmp_path):
        values = np.resize([0, 1, 2, 3, 400], (4, 5, 6))
        with pytest.raises(DataError, match=r"stored as multiples of scl_slope 1\.5"):
            read_label(self.save(tmp_path / "a.nii", values, np.uint8))
