"""Label maps on exactly the grid and under the header of their scan."""

import errno
import itertools
import json
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from isal import igzip

from densekit.errors import DataError, OutputError
from densekit.io import (
    Geometry,
    labels_json,
    read_geometry,
    read_label,
    read_volume,
    write_image,
    write_label,
)

SHAPE = (3, 4, 5)
SCAN = np.arange(60, dtype=np.int16).reshape(SHAPE)
NAMES = ["background", "liver", "spleen"]
ORIENTATIONS = ["".join(s) for axes in itertools.permutations(["LR", "PA", "IS"]) for s in itertools.product(*axes)]


@pytest.fixture
def scan(tmp_path, make_affine):
    """A scan with as much in its header as there can be."""
    image = nib.Nifti1Image(SCAN, make_affine("PSR", "oblique"))
    image.set_qform(image.affine, code=1)
    image.set_sform(image.affine, code=2)
    header = image.header
    header.set_xyzt_units("mm", "sec")
    header.set_intent("t test", (7,), name="test")
    header.set_slope_inter(2, -10)
    header.set_dim_info(freq=0, phase=1, slice=2)
    header["descrip"] = b"scanner 3000"
    header["cal_min"], header["cal_max"] = -100, 900
    header["toffset"] = 1.5
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"patient name"))
    nib.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def labels_for(geometry, high=2):
    return (np.arange(60).reshape(geometry.canonical_shape) % (high + 1)).astype(np.int64)


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("kind", ["aligned", "oblique", "sheared"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_label_lies_on_its_scan_voxel_by_voxel(tmp_path, make_affine, orientation, kind):
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(SCAN, make_affine(orientation, kind)), path)
    volume = read_volume(path)
    write_label(tmp_path / "out.nii.gz", volume.array[0] > 30, volume.geometry, like=path, names=None)
    label = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(label.dataobj), SCAN > 30)
    np.testing.assert_array_equal(label.affine, nib.load(path).affine)


class TestHeader:
    def test_what_speaks_of_the_grid_and_the_scan_is_kept(self, tmp_path, scan):
        geometry = read_geometry(scan)
        write_label(tmp_path / "out.nii.gz", labels_for(geometry), geometry, like=scan, names=None)
        before, after = nib.load(scan).header, nib.load(tmp_path / "out.nii.gz").header
        changed = {
            "datatype", "bitpix", "scl_slope", "scl_inter", "cal_min", "cal_max", "vox_offset",
            "intent_p1", "intent_p2", "intent_p3", "intent_code", "intent_name",
        }  # fmt: skip
        for field in before.keys():  # noqa: SIM118 (iterating a header is not the same)
            if field not in changed:
                np.testing.assert_array_equal(after[field], before[field], err_msg=field)
        assert (int(after["qform_code"]), int(after["sform_code"])) == (1, 2)

    def test_what_speaks_of_the_voxels_is_the_label_s_own(self, tmp_path, scan):
        geometry = read_geometry(scan)
        write_label(tmp_path / "out.nii", labels_for(geometry), geometry, like=scan, names=None)
        raw = nib.Nifti1Header((tmp_path / "out.nii").read_bytes()[:348], check=False)
        assert raw.get_data_dtype() == np.uint8
        assert (raw["scl_slope"], raw["scl_inter"]) == (1, 0)
        assert (raw["cal_min"], raw["cal_max"]) == (0, 2)
        assert raw.get_intent() == ("none", (), "")
        assert raw["vox_offset"] == 352
        assert not nib.load(tmp_path / "out.nii").header.extensions
        np.testing.assert_array_equal(
            nib.load(tmp_path / "out.nii").get_fdata(), geometry.restore(labels_for(geometry))
        )

    def test_neither_form_set_stays_so(self, tmp_path):
        image = nib.Nifti1Image(SCAN, None)
        image.header.set_zooms((1, 2, 3))
        nib.save(image, tmp_path / "scan.nii")
        geometry = read_geometry(tmp_path / "scan.nii")
        write_label(tmp_path / "out.nii", labels_for(geometry), geometry, like=tmp_path / "scan.nii", names=None)
        header = nib.load(tmp_path / "out.nii").header
        assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 0)
        assert read_geometry(tmp_path / "out.nii") == geometry

    @pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
    def test_4d_scan_of_one_volume_gives_a_3d_label_of_the_same_kind(self, tmp_path, kind):
        nib.save(kind(SCAN[..., None], np.diag((1, 2, 3, 1))), tmp_path / "scan.nii.gz")
        geometry = read_geometry(tmp_path / "scan.nii.gz")
        out = tmp_path / "out.nii.gz"
        write_label(out, labels_for(geometry), geometry, like=tmp_path / "scan.nii.gz", names=None)
        label = nib.load(out)
        assert type(label) is kind and label.shape == SHAPE
        np.testing.assert_array_equal(label.affine, np.diag((1, 2, 3, 1)))

    def test_big_endian_scan(self, tmp_path):
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(np.int16)
        nib.save(nib.Nifti1Image(SCAN, np.diag((1, 2, 3, 1)), header), tmp_path / "scan.nii")
        geometry = read_geometry(tmp_path / "scan.nii")
        write_label(tmp_path / "out.nii", labels_for(geometry, 300), geometry, like=tmp_path / "scan.nii", names=None)
        label = nib.load(tmp_path / "out.nii")
        np.testing.assert_array_equal(np.asarray(label.dataobj), geometry.restore(labels_for(geometry, 300)))
        np.testing.assert_array_equal(label.affine, np.diag((1, 2, 3, 1)))

    def test_more_than_255_labels_are_16_bit(self, tmp_path, scan):
        geometry = read_geometry(scan)
        labels = labels_for(geometry)
        labels[0, 0, 0] = 256
        write_label(tmp_path / "out.nii.gz", labels, geometry, like=scan, names=None)
        assert nib.load(tmp_path / "out.nii.gz").get_data_dtype() == np.uint16
        np.testing.assert_array_equal(read_label(tmp_path / "out.nii.gz").array[0], labels)


@pytest.mark.parametrize("like_suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", None])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_any_format_to_any_format(tmp_path, make_affine, suffix, like_suffix):
    geometry = Geometry(SHAPE, make_affine("PSR", "oblique"))
    like = None
    if like_suffix:
        like = tmp_path / f"scan{like_suffix}"
        write_image(tmp_path / "scan.nii.gz", geometry.to_canonical(SCAN), geometry)
        if not like_suffix.startswith(".nii.gz"):
            sitk.WriteImage(sitk.ReadImage(str(tmp_path / "scan.nii.gz")), str(like))
        geometry = read_geometry(like)
    write_label(tmp_path / f"out{suffix}", labels_for(geometry), geometry, like=like, names=NAMES)
    label = read_label(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(label.array[0], labels_for(geometry))
    assert label.geometry.shape == geometry.shape
    assert label.geometry.difference(geometry, tolerance_mm=1e-4) is None
    assert label.notes == ()
    image = sitk.ReadImage(str(tmp_path / f"out{suffix}"))
    np.testing.assert_allclose(image.GetSpacing(), geometry.spacing, rtol=1e-6)


def test_names_lie_beside_the_label(tmp_path, scan):
    geometry = read_geometry(scan)
    write_label(tmp_path / "out" / "scan.nii.gz", labels_for(geometry), geometry, like=scan, names=NAMES)
    assert names_in(tmp_path / "out") == ["scan.labels.json", "scan.nii.gz"]
    written = json.loads((tmp_path / "out" / "scan.labels.json").read_text())
    assert written == {"0": "background", "1": "liver", "2": "spleen"}
    assert labels_json(tmp_path / "out" / "scan.nii.gz") == tmp_path / "out" / "scan.labels.json"


def test_same_labels_make_the_same_bytes(tmp_path, scan):
    geometry = read_geometry(scan)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_label(tmp_path / name, labels_for(geometry), geometry, like=scan, names=None)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


class TestRefused:
    def test_scan_is_not_overwritten(self, tmp_path, scan):
        before = scan.read_bytes()
        geometry = read_geometry(scan)
        (tmp_path / "link.nii.gz").symlink_to(scan)
        for path in (scan, tmp_path / "link.nii.gz"):
            with pytest.raises(OutputError, match="is the scan itself; choose another output path"):
                write_label(path, labels_for(geometry), geometry, like=scan, names=None)
        assert scan.read_bytes() == before

    def test_scan_replaced_meanwhile(self, tmp_path, scan):
        geometry = read_geometry(scan)
        nib.save(nib.Nifti1Image(SCAN, np.eye(4)), scan)
        with pytest.raises(
            DataError, match=r"scan\.nii\.gz: its grid is not the one that was predicted; .* predict it again"
        ):
            write_label(tmp_path / "out.nii.gz", labels_for(geometry), geometry, like=scan, names=None)
        assert names_in(tmp_path) == ["scan.nii.gz"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "out.mhd",
                r"out\.mhd: would be two files, which cannot appear at once, expected one of .*; write out\.mha",
            ),
            ("out.png", r"out\.png: unknown kind of volume file, expected one of \.nii\.gz, .*; write out\.nii\.gz"),
        ],
    )
    def test_formats_that_cannot_be_written(self, tmp_path, scan, name, message):
        geometry = read_geometry(scan)
        with pytest.raises(OutputError, match=message):
            write_label(tmp_path / name, labels_for(geometry), geometry, like=scan, names=None)
        with pytest.raises(OutputError, match=message):
            write_image(tmp_path / name, geometry.to_canonical(SCAN), geometry)

    def test_labels_that_are_none(self, tmp_path, scan):
        geometry = read_geometry(scan)
        for labels, message in [
            (labels_for(geometry).astype(np.float32), "labels of type float32, expected integers"),
            (labels_for(geometry) - 1, "labels from -1 to 1, expected 0 to 65535"),
            (labels_for(geometry) * 50000, "labels from 0 to 100000"),
            (labels_for(geometry).T, "does not end in"),
            (labels_for(geometry, high=3), "label 3 has no name, there are 3"),
        ]:
            with pytest.raises(ValueError, match=message):
                write_label(tmp_path / "out.nii.gz", labels, geometry, like=scan, names=NAMES)
        assert names_in(tmp_path) == ["scan.nii.gz"]

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
    def test_full_disk_leaves_nothing(self, tmp_path, scan, suffix, monkeypatch):
        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(nib.Nifti1Image, "to_stream", full)
        monkeypatch.setattr(igzip.IGzipFile, "write", full)
        monkeypatch.setattr(os, "fsync", full)
        geometry = read_geometry(scan)
        with pytest.raises(
            OutputError, match=rf"out\{suffix}: cannot be written \(No space left on device\); free some"
        ):
            write_label(tmp_path / f"out{suffix}", labels_for(geometry), geometry, like=scan, names=None)
        assert names_in(tmp_path) == ["scan.nii.gz"]

    @pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
    def test_writer_that_loses_the_last_bytes_is_found_out(self, tmp_path, scan, suffix, monkeypatch):
        """ITK reports no error when a NRRD file's last buffer finds no space."""
        write = sitk.WriteImage

        def lossy(image, name, **kwargs):
            write(image, name, **kwargs)
            os.truncate(name, os.path.getsize(name) - 40)  # noqa: PTH202

        monkeypatch.setattr(sitk, "WriteImage", lossy)
        geometry = read_geometry(scan)
        with pytest.raises(
            OutputError, match=rf"out\{suffix}: cannot be written; check the folder's permissions and free"
        ):
            write_label(tmp_path / f"out{suffix}", labels_for(geometry), geometry, like=scan, names=None)
        assert names_in(tmp_path) == ["scan.nii.gz"]

    def test_names_that_cannot_be_written_keep_the_label_back(self, tmp_path, scan):
        (tmp_path / "out.labels.json").mkdir()
        geometry = read_geometry(scan)
        with pytest.raises(OutputError, match=r"out\.labels\.json: cannot be written, there is a folder of that name"):
            write_label(tmp_path / "out.nii.gz", labels_for(geometry), geometry, like=scan, names=NAMES)
        assert names_in(tmp_path) == ["out.labels.json", "scan.nii.gz"]


class TestImage:
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [
            (np.int16, np.int16),
            (np.uint8, np.uint8),
            (np.float32, np.float32),
            (np.float64, np.float32),
            (bool, np.uint8),
        ],
    )
    def test_round_trip(self, tmp_path, make_affine, suffix, dtype, expected):
        geometry = Geometry(SHAPE, make_affine("SAL", "oblique"))
        array = geometry.to_canonical(SCAN).astype(dtype)
        write_image(tmp_path / f"a{suffix}", array[None], geometry)
        volume = read_volume(tmp_path / f"a{suffix}")
        assert volume.array.dtype == expected
        np.testing.assert_array_equal(volume.array[0], array)
        assert volume.geometry.difference(geometry, tolerance_mm=1e-4) is None
        assert volume.notes == ()

    def test_sheared_grid_has_no_qform_that_contradicts(self, tmp_path, make_affine):
        geometry = Geometry(SHAPE, make_affine("LPS", "sheared"))
        write_image(tmp_path / "a.nii.gz", geometry.to_canonical(SCAN), geometry)
        header = nib.load(tmp_path / "a.nii.gz").header
        assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 1)
        assert read_geometry(tmp_path / "a.nii.gz").difference(geometry, tolerance_mm=1e-4) is None

    def test_several_channels_are_files_of_their_own(self, tmp_path, make_affine):
        geometry = Geometry(SHAPE, make_affine("LPS"))
        with pytest.raises(ValueError, match=r"array of shape \(2, 5, 4, 3\), expected \(D, H, W\) or \(1, D, H, W\)"):
            write_image(tmp_path / "a.nii.gz", np.zeros((2, 5, 4, 3)), geometry)
