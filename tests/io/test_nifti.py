"""What NIfTI headers can say, and how bad files are refused."""

import gzip
import struct
import sys

import nibabel as nib
import numpy as np
import pytest

from densekit.errors import DataError
from densekit.io import read_geometry, read_label, read_volume

SHAPE = (3, 4, 5)
VALUES = np.arange(60, dtype=np.int16).reshape(SHAPE) - 7


def save(path, array=VALUES, affine=None, *, kind=nib.Nifti1Image, **fields):
    """Write a volume with header fields set as they are, also to values that nibabel's setters would refuse."""
    image = kind(array, np.diag((-1.0, -1.0, 2.0, 1.0)) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def patch(path, **fields):
    """Change fields of the header in an uncompressed file, past all of nibabel's checks."""
    data = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(data[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    data[:348] = header.binaryblock
    path.write_bytes(bytes(data))
    return path


def stored(volume):
    return volume.geometry.restore(volume.array[0])


class TestValues:
    @pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4"])
    def test_stored_type_is_kept(self, tmp_path, dtype):
        header = nib.Nifti1Header()
        header.set_data_dtype(dtype)
        nib.save(nib.Nifti1Image(np.abs(VALUES).astype(dtype), np.eye(4), header), tmp_path / "a.nii.gz")
        volume = read_volume(tmp_path / "a.nii.gz")
        assert volume.array.dtype == np.dtype(dtype)
        assert volume.array.flags.c_contiguous and volume.array.flags.writeable
        np.testing.assert_array_equal(stored(volume), np.abs(VALUES))

    def test_float64_becomes_float32(self, tmp_path):
        volume = read_volume(save(tmp_path / "a.nii", VALUES / 3))
        assert volume.array.dtype == np.float32
        np.testing.assert_array_equal(stored(volume), (VALUES / 3).astype(np.float32))

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
    def test_big_endian_and_nifti2(self, tmp_path, suffix):
        header = nib.Nifti1Header(endianness=">" if sys.byteorder == "little" else "<")
        header.set_data_dtype(np.int16)
        swapped = nib.Nifti1Image(VALUES, np.diag((1, 2, 3, 1)), header).to_bytes()
        second = nib.Nifti2Image(VALUES, np.diag((1, 2, 3, 1))).to_bytes()
        for data in (swapped, second):
            path = tmp_path / f"a{suffix}"
            path.write_bytes(data if suffix == ".nii" else gzip.compress(data))
            volume = read_volume(path)
            assert volume.array.dtype == np.int16 and volume.array.dtype.isnative
            np.testing.assert_array_equal(stored(volume), VALUES)
            np.testing.assert_array_equal(volume.geometry.affine, np.diag((1, 2, 3, 1)))

    @pytest.mark.parametrize(
        ("dtype", "slope", "inter", "expected"),
        [
            (np.int16, 1, 0, np.int16),
            (np.int16, np.nan, np.nan, np.int16),
            (np.int16, 0, 5, np.int16),  # slope 0: the standard says not scaled
            (np.uint16, 1, -1024, np.int16),
            (np.uint8, 2, 10, np.uint8),
            (np.uint8, 100, 0, np.int16),
            (np.int16, 4096, 1, np.int32),
            (np.int16, 0.5, 0, np.float32),
            (np.int16, 1, 0.25, np.float32),
            (np.float32, 2, 1, np.float32),
        ],
    )
    def test_scaling_keeps_integers_where_the_result_is_integral(self, tmp_path, dtype, slope, inter, expected):
        raw = np.abs(VALUES).astype(dtype)
        path = patch(save(tmp_path / "a.nii", raw), scl_slope=slope, scl_inter=inter)
        volume = read_volume(path)
        assert volume.array.dtype == expected
        scaled = np.isfinite(slope) and slope != 0
        wanted = raw.astype(np.float64) * slope + inter if scaled else raw
        np.testing.assert_array_equal(stored(volume), wanted.astype(expected))
        np.testing.assert_array_equal(stored(volume), nib.load(path).get_fdata().astype(expected))

    def test_slope_with_nan_intercept_is_noted(self, tmp_path):
        volume = read_volume(patch(save(tmp_path / "a.nii"), scl_slope=2, scl_inter=np.nan))
        np.testing.assert_array_equal(stored(volume), VALUES * 2)
        assert volume.notes == ("caution: scl_inter is nan: taken as 0",)

    def test_gzip_of_several_members(self, tmp_path):
        data = nib.Nifti1Image(VALUES, np.eye(4)).to_bytes()
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress(data[:300]) + gzip.compress(data[300:370]) + gzip.compress(data[370:]))
        np.testing.assert_array_equal(stored(read_volume(path)), VALUES)

    def test_header_extension_is_skipped(self, tmp_path):
        image = nib.Nifti1Image(VALUES, np.eye(4))
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 500))
        nib.save(image, tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(stored(read_volume(tmp_path / "a.nii.gz")), VALUES)

    @pytest.mark.parametrize("extra", [(1,), (1, 1)])
    def test_further_axes_of_one_are_dropped(self, tmp_path, extra):
        volume = read_volume(save(tmp_path / "a.nii.gz", VALUES.reshape(*SHAPE, *extra)))
        assert volume.array.shape == (1, 5, 4, 3)
        assert volume.geometry.shape == SHAPE
        np.testing.assert_array_equal(stored(volume), VALUES)


class TestGrid:
    def test_sound_file_has_no_notes(self, tmp_path, make_affine):
        for kind in ("aligned", "oblique"):
            image = nib.Nifti1Image(VALUES, make_affine("PSR", kind, origin=(-300, 200, -1500)))
            image.set_qform(image.affine, code=1)
            image.set_sform(image.affine, code=1)
            nib.save(image, tmp_path / "a.nii.gz")
            volume = read_volume(tmp_path / "a.nii.gz")
            assert volume.notes == ()
            np.testing.assert_array_equal(volume.geometry.affine, nib.load(tmp_path / "a.nii.gz").affine)

    @pytest.mark.parametrize("qfac", [1, -1, 0])
    def test_qform_alone(self, tmp_path, qfac):
        path = save(tmp_path / "a.nii", affine=np.diag((1, 2, 3 if qfac >= 0 else -3, 1)))
        image = nib.load(path)
        image.set_qform(image.affine, code=1)
        image.set_sform(None, code=0)
        nib.save(image, tmp_path / "b.nii")
        path = patch(tmp_path / "b.nii", **{"pixdim": np.array([qfac, 1, 2, 3, 0, 0, 0, 0])})
        geometry = read_geometry(path)
        assert geometry.orientation == ("RAS" if qfac >= 0 else "RAI")
        assert geometry.spacing == pytest.approx((1, 2, 3))

    def test_neither_form_set_is_noted(self, tmp_path):
        path = patch(save(tmp_path / "a.nii"), sform_code=0, qform_code=0)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.geometry.affine, nib.load(path).affine)
        assert volume.geometry.orientation == "LAS"
        assert volume.notes == (
            "caution: neither qform nor sform is set: assumed axes Left, Anterior, Superior, as nibabel does",
        )

    def test_sheared_is_used_and_noted(self, tmp_path, make_affine):
        volume = read_volume(save(tmp_path / "a.nii", affine=make_affine("LPS", "sheared")))
        assert volume.notes == ("sheared grid, axes 8.0 degrees off right angles: used as it is, not resampled",)
        assert volume.geometry.orientation == "LPS"

    def test_qform_cannot_hold_shear_and_is_no_contradiction_then(self, tmp_path, make_affine):
        image = nib.Nifti1Image(np.zeros((100, 100, 60), np.uint8), make_affine("LPS", "sheared"))
        image.set_sform(image.affine, code=1)
        image.set_qform(image.affine, code=1)
        nib.save(image, tmp_path / "a.nii.gz")
        assert len(read_volume(tmp_path / "a.nii.gz").notes) == 1

    def test_lengths_in_micrometres_become_mm(self, tmp_path):
        volume = read_volume(save(tmp_path / "a.nii", affine=np.diag((500.0, 500, 2000, 1)), xyzt_units=3))
        assert volume.geometry.spacing == pytest.approx((0.5, 0.5, 2.0))
        assert volume.notes == ("lengths are in micrometres by the header: converted to mm",)

    def test_pixdim_that_is_not_of_the_sform_is_noted(self, tmp_path):
        path = patch(save(tmp_path / "a.nii"), pixdim=np.array([1, 1, 1, 1, 0, 0, 0, 0]))
        assert read_volume(path).notes == (
            "caution: spacing by pixdim is 1 x 1 x 1 mm, by the sform 1 x 1 x 2 mm: sform used",
        )

    @staticmethod
    def two_forms(path, sform, qform, codes=(1, 1)):
        image = nib.Nifti1Image(VALUES, sform)
        image.set_sform(sform, code=codes[0])
        image.set_qform(qform, code=codes[1])
        nib.save(image, path)
        return path

    def test_forms_that_differ_slightly_are_noted(self, tmp_path):
        moved = np.eye(4)
        moved[0, 3] = 0.4
        volume = read_volume(self.two_forms(tmp_path / "a.nii.gz", np.eye(4), moved))
        np.testing.assert_array_equal(volume.geometry.affine, np.eye(4))
        (note,) = volume.notes
        assert note == (
            "caution: qform (scanner, RAS, 1 x 1 x 1 mm) and sform (scanner, RAS, 1 x 1 x 1 mm) are 0.4 mm apart at "
            "the farthest corner: sform used"
        )

    @pytest.mark.parametrize(
        ("qform", "codes"),
        [
            (np.diag((-1.0, 1, 1, 1)), (1, 1)),  # mirrored
            (np.diag((-1.0, 1, 1, 1)), (2, 1)),  # mirrored: no registration does that
            (np.diag((1.0, 1, 2, 1)), (2, 1)),  # other spacing
            (np.array([[1.0, 0, 0, 9], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), (1, 1)),  # same space, other place
        ],
    )
    def test_forms_that_contradict_are_refused(self, tmp_path, qform, codes):
        path = self.two_forms(tmp_path / "a.nii.gz", np.eye(4), qform, codes)
        for read in (read_volume, read_geometry):
            with pytest.raises(
                DataError, match=r"a\.nii\.gz: qform \(scanner, .* sform \(.* mm apart at the .*set_qform"
            ):
                read(path)

    def test_registered_scan_is_noted_not_refused(self, tmp_path, make_affine):
        """SPM leaves the scanner's qform and writes the registered pose into an sform of another code."""
        registered, scanner = make_affine("LPS", "oblique"), make_affine("LPS", origin=(80, 0, 0))
        volume = read_volume(self.two_forms(tmp_path / "a.nii.gz", registered, scanner, codes=(2, 1)))
        np.testing.assert_allclose(volume.geometry.affine, registered, atol=1e-5)
        (note,) = volume.notes
        assert note.startswith("caution: qform (scanner, LPS") and note.endswith("sform used")


class TestRefused:
    """Each bad file ends in one line that names it, says what is wrong and what to do."""

    def refuse(self, path, message, read=read_volume):
        with pytest.raises(DataError, match=message) as caught:
            read(path)
        text = str(caught.value)
        assert text.startswith(f"{path}: ") and "\n" not in text and "; " in text

    def test_truncated_gzip(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 255, (20, 20, 20), dtype=np.uint8)
        whole = save(tmp_path / "a.nii.gz", noise).read_bytes()
        for cut in (len(whole) - 4, len(whole) - 9, len(whole) // 2, 100, 3):
            (tmp_path / "b.nii.gz").write_bytes(whole[:cut])
            self.refuse(tmp_path / "b.nii.gz", "truncated, the gzip stream ends before its end mark; copy or export")

    def test_gzip_with_wrong_checksum(self, tmp_path):
        data = bytearray(save(tmp_path / "a.nii.gz").read_bytes())
        data[-6] ^= 0xFF
        (tmp_path / "a.nii.gz").write_bytes(bytes(data))
        self.refuse(tmp_path / "a.nii.gz", r"damaged gzip stream \(.*\); copy or export the file again")

    def test_gzip_with_flipped_bytes(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 255, (20, 20, 20), dtype=np.uint8)
        data = bytearray(save(tmp_path / "a.nii.gz", noise).read_bytes())
        data[2000:2010] = bytes(10)
        (tmp_path / "a.nii.gz").write_bytes(bytes(data))
        self.refuse(tmp_path / "a.nii.gz", "damaged gzip stream|truncated")

    def test_not_gzip(self, tmp_path):
        save(tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
        self.refuse(tmp_path / "a.nii.gz", r"is not gzip-compressed though its name ends in \.gz; rename it or")

    def test_gzip_called_nii(self, tmp_path):
        save(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
        self.refuse(tmp_path / "a.nii", r"is gzip-compressed; rename it to a\.nii\.gz")

    def test_empty_file(self, tmp_path):
        (tmp_path / "a.nii.gz").touch()
        self.refuse(tmp_path / "a.nii.gz", "the file is empty; copy or export")

    def test_file_that_ends_in_its_header(self, tmp_path):
        for name, pack in (("a.nii", bytes), ("a.nii.gz", gzip.compress)):
            (tmp_path / name).write_bytes(pack(b"\x5c\x01\x00\x00" + bytes(96)))
            self.refuse(tmp_path / name, "unreadable header, the file ends after 100 bytes; copy or export")

    def test_something_else_called_nifti(self, tmp_path):
        (tmp_path / "a.nii").write_bytes(b"<html>not found</html>" * 50)
        self.refuse(tmp_path / "a.nii", "unreadable header, this is not a single-file NIfTI; convert it")

    @pytest.mark.parametrize("ndim", [0, 8, -1])
    def test_impossible_number_of_dimensions(self, tmp_path, ndim):
        path = save(tmp_path / "a.nii")
        data = bytearray(path.read_bytes())
        data[40:42] = struct.pack("<h", ndim)
        path.write_bytes(bytes(data))
        self.refuse(path, "unreadable header")

    def test_voxels_missing(self, tmp_path):
        path = save(tmp_path / "a.nii")
        path.write_bytes(path.read_bytes()[:-10])
        self.refuse(
            path, "truncated or damaged, the header promises 120 bytes of voxels, there are 110; copy or export"
        )

    def test_header_that_promises_terabytes(self, tmp_path):
        data = patch(save(tmp_path / "a.nii"), dim=np.array([3, 32767, 32767, 32767, 1, 1, 1, 1])).read_bytes()
        for name, pack in (("a.nii", bytes), ("a.nii.gz", gzip.compress)):
            (tmp_path / name).write_bytes(pack(data))
            self.refuse(tmp_path / name, f"truncated or damaged, the header promises {2 * 32767**3} bytes of voxels")

    def test_flat_file(self, tmp_path):
        self.refuse(
            save(tmp_path / "a.nii.gz", VALUES[..., 0]), r"is a 2D file \(shape 3 x 4\), expected a 3D volume; stack"
        )

    def test_several_volumes(self, tmp_path):
        path = save(tmp_path / "a.nii.gz", np.stack([VALUES] * 6, axis=-1))
        self.refuse(path, r"holds 6 volumes \(shape 3 x 4 x 5 x 6\), expected one; save the volume you want")

    def test_colours(self, tmp_path):
        colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        self.refuse(save(tmp_path / "a.nii", colours), r"holds colours \(RGB\), expected one number per voxel; save it")

    def test_complex_numbers(self, tmp_path):
        self.refuse(save(tmp_path / "a.nii", VALUES.astype(np.complex64)), "holds complex numbers, expected one real")

    @pytest.mark.parametrize("code", [0, 1, 99])
    def test_unknown_data_type(self, tmp_path, code):
        self.refuse(
            patch(save(tmp_path / "a.nii"), datatype=code), f"unreadable header, data type code {code}; save it"
        )

    @pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
    @pytest.mark.parametrize("codes", [(1, 0), (0, 1), (0, 0)])
    def test_impossible_spacing(self, tmp_path, bad, codes):
        path = patch(
            save(tmp_path / "a.nii"),
            pixdim=np.array([1, 1, bad, 2, 0, 0, 0, 0]),
            sform_code=codes[0],
            qform_code=codes[1],
        )
        message = rf"voxels of 1 x {bad:g} x 2 mm \(zero, negative or NaN spacing\), expected positive numbers; "
        self.refuse(path, message)
        self.refuse(path, message, read_geometry)

    def test_axis_without_voxels(self, tmp_path):
        path = patch(save(tmp_path / "a.nii"), dim=np.array([3, 3, 0, 5, 1, 1, 1, 1]))
        self.refuse(path, r"has an axis without voxels \(shape 3 x 0 x 5\); copy or export")

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ({"srow_x": (0, 0, 0, 0)}, "zero spacing: voxels of 0 x 1 x 2 mm"),
            (
                {"srow_x": (1, 1, 0, 0), "srow_y": (1, 1, 0, 0)},
                "the affine is singular or nearly so: its axes are 90 deg",
            ),
            ({"srow_x": (np.nan, 0, 0, 0)}, "the affine has NaN or infinite entries"),
        ],
    )
    def test_singular_affine(self, tmp_path, rows, message):
        path = patch(save(tmp_path / "a.nii"), **rows)
        self.refuse(path, rf"{message}.* \(sform\); correct the sform in the header or copy")

    def test_impossible_quaternion(self, tmp_path):
        path = patch(save(tmp_path / "a.nii"), sform_code=0, qform_code=1, quatern_b=3.0)
        self.refuse(path, r"unreadable qform in the header \(.*\) and no sform; export")

    @pytest.mark.parametrize("offset", [np.nan, -8])
    def test_impossible_offset(self, tmp_path, offset):
        self.refuse(patch(save(tmp_path / "a.nii"), vox_offset=offset), "unreadable header, the voxels begin at byte")

    def test_not_a_number_and_infinity(self, tmp_path):
        values = VALUES.astype(np.float32)
        values[0, 0, :2] = np.nan
        values[1, 1, 1] = -np.inf
        path = save(tmp_path / "a.nii.gz", values)
        message = r"2 voxels are NaN and 1 infinite \(or beyond float32\) of 60, expected numbers; replace .*nan_to_num"
        self.refuse(path, message)
        self.refuse(path, message, read_label)

    def test_float64_beyond_float32(self, tmp_path):
        self.refuse(save(tmp_path / "a.nii.gz", VALUES * 1e300), "0 voxels are NaN and 59 infinite")


class TestAxesInFront:
    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    @pytest.mark.parametrize("lead", [(1,), (1, 1)])
    def test_an_axis_of_one_voxel_in_front_is_refused_with_a_command_that_takes_it_away(self, tmp_path, name, lead):
        path = tmp_path / name
        nib.save(nib.Nifti1Image(VALUES.reshape(*lead, *SHAPE), np.diag((-1.0, -1.0, 2.0, 1.0))), path)
        with pytest.raises(DataError, match=r"has one voxel .* channel axis stands in front") as caught:
            read_volume(path)
        command = str(caught.value).split("e.g. with nibabel: ")[1]
        exec(command, {"nib": nib, "np": np, "FILE": path, "NEWFILE": tmp_path / "new.nii"})
        volume = read_volume(tmp_path / "new.nii")
        np.testing.assert_array_equal(stored(volume), VALUES)
        np.testing.assert_array_equal(volume.geometry.affine, np.diag((-1.0, -1.0, 2.0, 1.0)))

    def test_channels_in_front_are_told_from_volumes_behind(self, tmp_path):
        nib.save(nib.Nifti1Image(np.zeros((2, 12, 13, 14), np.int16), np.eye(4)), tmp_path / "front.nii")
        nib.save(nib.Nifti1Image(np.zeros((12, 13, 14, 2), np.int16), np.eye(4)), tmp_path / "behind.nii")
        with pytest.raises(DataError, match="2 volumes along its first axis"):
            read_volume(tmp_path / "front.nii")
        with pytest.raises(DataError, match=r"slicer\[\.\.\., 0\]"):
            read_volume(tmp_path / "behind.nii")

    @pytest.mark.parametrize("shape", [(3, 4, 5, 1), (3, 4, 5, 1, 1), (1, 4, 15), (3, 20, 1)])
    def test_axes_of_one_voxel_elsewhere_are_read(self, tmp_path, shape):
        nib.save(nib.Nifti1Image(VALUES.reshape(shape), np.eye(4)), tmp_path / "a.nii")
        assert read_volume(tmp_path / "a.nii").geometry.shape == shape[:3]


@pytest.mark.parametrize("slope", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_a_slope_that_is_no_number_is_said_and_not_applied(tmp_path, slope, dtype):
    path = patch(save(tmp_path / "a.nii", np.abs(VALUES).astype(dtype)), scl_slope=slope)
    volume = read_volume(path)
    np.testing.assert_array_equal(stored(volume), np.abs(VALUES))
    assert volume.notes == (f"caution: scl_slope is {slope}: values taken as they are stored, not scaled",)


@pytest.mark.parametrize(
    ("spacing", "words"),
    [((1500, 1500, 3000), "micrometres"), ((0.0015, 0.0015, 0.003), "metres"), ((1, 1, 45), "is the header right")],
)
@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_implausible_voxels_are_said_with_a_guess(tmp_path, spacing, words, suffix):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(VALUES)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    (note,) = read_volume(tmp_path / f"a{suffix}").notes
    assert "implausible" in note and words in note


@pytest.mark.parametrize("spacing", [(0.02, 0.02, 0.05), (0.7, 0.7, 25), (1, 1, 1)])
@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_nothing_is_said_of_small_and_thick_voxels_that_there_are(tmp_path, spacing, suffix):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(VALUES)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    assert read_volume(tmp_path / f"a{suffix}").notes == ()
