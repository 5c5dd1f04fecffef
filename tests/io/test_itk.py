"""NRRD and MetaImage files through SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk

from densekit.errors import DataError
from densekit.io import read_geometry, read_volume
from densekit.structures.notes import CAUTION

VALUES = np.arange(120, dtype=np.int16).reshape(4, 5, 6) - 7  # (z, y, x)


def save(path, array=VALUES, *, vector=None, compress=False):
    image = sitk.GetImageFromArray(array, isVector=vector)
    if image.GetDimension() == 3:
        image.SetSpacing((0.5, 0.75, 3.0))
        image.SetOrigin((-20.0, 10.0, 5.0))
    sitk.WriteImage(image, str(path), compress)
    return path


def edit(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
class TestRead:
    @pytest.mark.parametrize("compress", [False, True])
    def test_lps_image_is_the_array_of_simpleitk(self, tmp_path, suffix, compress):
        path = save(tmp_path / f"a{suffix}", compress=compress)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
        assert volume.array.dtype == np.int16 and volume.array.flags.c_contiguous
        assert volume.geometry.orientation == "LPS"
        assert volume.geometry.canonical_shape == (4, 5, 6)
        assert volume.geometry.canonical_spacing == pytest.approx((3.0, 0.75, 0.5))
        # ITK's point is LPS, ours RAS.
        np.testing.assert_allclose(volume.geometry.affine[:3, 3], (20.0, -10.0, 5.0))
        assert volume.notes == ()
        assert read_geometry(path) == volume.geometry

    @pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.float32])
    def test_stored_type_is_kept(self, tmp_path, suffix, dtype):
        assert read_volume(save(tmp_path / f"a{suffix}", abs(VALUES).astype(dtype))).array.dtype == dtype

    def test_float64_becomes_float32(self, tmp_path, suffix):
        volume = read_volume(save(tmp_path / f"a{suffix}", VALUES / 3))
        np.testing.assert_array_equal(volume.array[0], (VALUES / 3).astype(np.float32))

    def test_fourth_axis_of_one_is_dropped(self, tmp_path, suffix):
        volume = read_volume(save(tmp_path / f"a{suffix}", VALUES[None], vector=False))
        np.testing.assert_array_equal(volume.array[0], VALUES)

    def test_vector_of_one_component_is_a_scalar(self, tmp_path, suffix):
        volume = read_volume(save(tmp_path / f"a{suffix}", VALUES[..., None], vector=True))
        np.testing.assert_array_equal(volume.array[0], VALUES)

    def refuse(self, path, message):
        for read in (read_volume, read_geometry):
            with pytest.raises(DataError, match=message) as caught:
                read(path)
            text = str(caught.value)
            assert text.startswith(f"{path}: ") and "\n" not in text and "; " in text

    def test_flat_file(self, tmp_path, suffix):
        self.refuse(
            save(tmp_path / f"a{suffix}", VALUES[0]), r"is a 2D file \(shape 6 x 5\), expected a 3D volume; stack"
        )

    def test_several_volumes(self, tmp_path, suffix):
        path = save(tmp_path / f"a{suffix}", np.stack([VALUES, VALUES]), vector=False)
        self.refuse(path, r"has 4 dimensions \(shape 6 x 5 x 4 x 2\), expected one 3D volume; save the volume")

    def test_colours(self, tmp_path, suffix):
        path = save(tmp_path / f"a{suffix}", np.zeros((4, 5, 6, 3), np.uint8), vector=True)
        self.refuse(path, r"has 3 numbers per voxel \(colour or vector\), expected one; save each")

    def test_something_else_by_that_name(self, tmp_path, suffix):
        (tmp_path / f"a{suffix}").write_bytes(b"<html>not found</html>")
        self.refuse(tmp_path / f"a{suffix}", "unreadable header, this is not what its name says; copy or export")

    def test_empty_file(self, tmp_path, suffix):
        (tmp_path / f"a{suffix}").touch()
        self.refuse(tmp_path / f"a{suffix}", "the file is empty; copy or export")

    def test_not_a_number(self, tmp_path, suffix):
        values = VALUES.astype(np.float32)
        values[0, 0, 0] = np.nan
        with pytest.raises(DataError, match=r"1 voxels are NaN and 0 infinite .* of 120, expected numbers; replace"):
            read_volume(save(tmp_path / f"a{suffix}", values))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"(0.5,0,0)", b"(0,0,0)", r"voxels of 0 x 0\.75 x 3 mm \(zero or NaN spacing\), expected positive numb"),
        (b"(0,0.75,0)", b"(0.5,0,0)", "the affine is singular .*; correct the axes in the header"),
        (b"(0,0.75,0)", b"(0.5,0.1,0)", r"the affine is singular or nearly so: .* off right angles; correct the axes"),
        (b"sizes: 6 5 4", b"sizes: 6 0 4", r"unreadable or damaged \(axis 1 size is zero!\); copy or export"),
        (b"type: short", b"type: shirt", r"unreadable or damaged \(couldn't parse type \"shirt\"\); copy or export"),
        (b"space: left-posterior-superior", b"space: left-posterior-supperior", "unreadable or damaged"),
    ],
)  # fmt: skip
def test_bad_nrrd_header(tmp_path, old, new, message):
    path = edit(save(tmp_path / "a.nrrd"), old, new)
    for read in (read_volume, read_geometry):
        with pytest.raises(DataError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"0.5 0.75 3", b"0 0.75 3", r"voxels of 0 x 0\.75 x 3 mm \(zero or NaN spacing\), expected positive numbers"),
        (b"0.5 0.75 3", b"nan 0.75 3", r"\(zero or NaN spacing\), expected positive numbers; correct the header"),
        (b"0.5 0.75 3", b"0.5 -0.75 3", "negative spacing in the header, expected positive mm; copy or export"),
        (b"1 0 0 0 1 0 0 0 1", b"1 0 0 1 0 0 0 0 1", "the affine is singular"),
        (b"DimSize = 6 5 4", b"DimSize = 6 0 4", r"has an axis without voxels \(shape 6 x 0 x 4\); copy or export"),
        (b"MET_SHORT", b"MET_SHIRT", "unreadable or damaged"),
    ],
)
def test_bad_metaimage_header(tmp_path, old, new, message):
    path = edit(save(tmp_path / "a.mha"), old, new)
    with pytest.raises(DataError, match=message) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_small_spacing_in_scientific_notation_is_not_taken_for_negative(tmp_path):
    path = edit(save(tmp_path / "a.mha"), b"0.5 0.75 3", b"5e-2 7.5e-02 0.3")
    assert read_geometry(path).spacing == pytest.approx((0.05, 0.075, 0.3))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_truncated(tmp_path, suffix, compress):
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 20), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", noise, compress=compress)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(
        DataError, match=r"(truncated|unreadable or damaged).*; copy or export the file again"
    ) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_header_without_its_voxels(tmp_path):
    path = save(tmp_path / "a.mhd")
    (tmp_path / "a.raw").unlink()
    with pytest.raises(DataError, match=r"the file with its voxels is missing beside it \(\.mhd names a \.raw file\)"):
        read_volume(path)


def test_complex_numbers(tmp_path):
    with pytest.raises(
        DataError, match="holds complex numbers, expected one real number per voxel; save the magnitude"
    ):
        read_volume(save(tmp_path / "a.nrrd", VALUES.astype(np.complex64)))


def test_segmentation_of_several_layers(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6, 2), np.uint8), isVector=True)
    image.SetMetaData("Segment0_ID", "liver")
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    message = "is a segmentation of 2 overlapping layers, expected one layer; in 3D Slicer, export it as a labelmap"
    with pytest.raises(DataError, match=message):
        read_volume(tmp_path / "a.seg.nrrd")


def test_missing_orientation_is_noted(tmp_path):
    said = "the header says nothing of the orientation: assumed axes Left, Posterior, Superior, as ITK does"
    note = (f"{CAUTION}{said}",)
    path = save(tmp_path / "a.nrrd")
    edit(path, b"space: left-posterior-superior\n", b"")
    edit(path, b"space directions: (0.5,0,0) (0,0.75,0) (0,0,3)\n", b"spacings: 0.5 0.75 3\n")
    data = path.read_bytes()
    start = data.index(b"space origin")
    path.write_bytes(data[:start] + data[data.index(b"\n", start) + 1 :])
    volume = read_volume(path)
    assert volume.notes == note
    assert volume.geometry.spacing == pytest.approx((0.5, 0.75, 3.0))
    path = edit(save(tmp_path / "a.mha"), b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n", b"")
    assert read_volume(path).notes == note


def test_sheared_is_used_and_noted(tmp_path):
    path = edit(save(tmp_path / "a.nrrd"), b"(0,0,3)", b"(0,0.3,3)")
    volume = read_volume(path)
    assert volume.notes == ("sheared grid, axes 5.7 degrees off right angles: used as it is, not resampled",)
    assert volume.geometry.voxel_ml == pytest.approx(0.5 * 0.75 * 3 / 1000)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("said", [True, False])
def test_a_file_that_says_nothing_of_its_spacing_is_known_as_such(tmp_path, suffix, said):
    values = np.arange(60, dtype="<i2").reshape(5, 4, 3)
    if suffix == ".nrrd":
        spacing = "spacings: 1 1 1\n" if said else ""
        head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 3 4 5\n{spacing}endian: little\nencoding: raw\n\n"
    else:
        spacing = "ElementSpacing = 1 1 1\n" if said else ""
        head = f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{spacing}"
        head += "DimSize = 3 4 5\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    path = tmp_path / f"a{suffix}"
    path.write_bytes(head.encode() + values.tobytes())
    volume = read_volume(path)
    assert volume.geometry.spacing_known == said
    assert any("nothing of the spacing" in note for note in volume.notes) != said


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_an_axis_of_one_voxel_in_front_is_named(tmp_path, suffix):
    image = sitk.GetImageFromArray(np.zeros((5, 4, 3, 1), np.int16), isVector=False)
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    with pytest.raises(DataError, match="the first of its 4 axes has one voxel"):
        read_volume(tmp_path / f"a{suffix}")
