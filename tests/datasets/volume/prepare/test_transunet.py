"""TransUNet's files: volumes rebuilt from slices, HU restored, one orientation for train and test."""

import h5py
import nibabel as nib
import numpy as np
import pytest

from densekit.datasets.volume.prepare import read_source
from densekit.datasets.volume.prepare.encodings import ENCODINGS, SYNAPSE_ORGANS, LabelSummary
from densekit.datasets.volume.prepare.transunet import find_orientation, to_canonical
from densekit.errors import ConfigError, DataError
from densekit.io import read_label, read_volume


@pytest.fixture
def volume(organs):
    """Return HU (int16, within the window) and organ masks, canonical."""
    masks = organs()
    hu = np.random.default_rng(0).integers(-125, 276, masks["liver"].shape).astype(np.int16)
    return hu, masks


def encode(masks, encoding):
    label = np.zeros(masks["liver"].shape, dtype=np.float32)
    for value, organ in ENCODINGS[encoding].items():
        if organ in masks:
            label[masks[organ]] = value
    return label


def scaled(hu):
    return ((hu.astype(np.float32) + 125) / 400).astype(np.float32)


def write_slices(root, case, image, label, key="image"):
    (root / "train_npz").mkdir(parents=True, exist_ok=True)
    for number, (i, m) in enumerate(zip(image, label, strict=True)):
        np.savez(root / "train_npz" / f"case{case}_slice{number:03d}.npz", **{key: i, "label": m})


def write_volume(root, case, image, label):
    (root / "test_vol_h5").mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "test_vol_h5" / f"case{case}.npy.h5", "w") as file:
        file["image"], file["label"] = image, label


def read(path, tmp_path, **options):
    return read_source("synapse", path, work=tmp_path / "work", **options)


@pytest.mark.parametrize("encoding", ["transunet", "packed", "cascade"])
def test_slices_and_volumes_become_the_same_ct(tmp_path, volume, encoding):
    hu, masks = volume
    label = encode(masks, encoding)
    root = tmp_path / "Synapse"
    write_slices(root, "0005", scaled(hu), label)
    # The test files of this data set lie otherwise: rows and columns exchanged, columns towards the right.
    write_volume(root, "0001", scaled(hu).transpose(0, 2, 1)[:, ::-1], label.transpose(0, 2, 1)[:, ::-1])
    source = read(tmp_path, tmp_path, encoding=encoding)
    assert source.layout == "transunet" and source.spacing is None and source.convention == "transunet"
    assert source.labels == ("background", *SYNAPSE_ORGANS) and source.normalization == "ct"
    assert {c.id: c.split for c in source.cases} == {"0001": "test", "0005": "train"}
    for case in source.cases:
        image = read_volume(case.images[0])
        np.testing.assert_array_equal(image.array[0], hu)
        np.testing.assert_array_equal(read_label(case.label).array[0], label)
        assert image.array.dtype == np.int16 and image.geometry.canonical_spacing == pytest.approx((3.0, 0.76, 0.76))
        assert nib.load(case.images[0]).affine[0, 0] < 0
    notes = "\n".join(source.notes)
    assert "train_npz: slices, rows and columns lead towards SPL (by where the organs lie)" in notes
    assert "test_vol_h5: slices, rows and columns lead towards SRP" in notes
    assert "no spacing" in notes and "case 0005 has 20 slices, TransUNet's list has 117" in notes


def test_the_encoding_must_be_said_and_is_checked_in_both_folders(tmp_path, volume):
    hu, masks = volume
    root = tmp_path / "Synapse"
    write_slices(root, "0005", scaled(hu), encode(masks, "transunet"))
    with pytest.raises(
        ConfigError, match=r"TransUNet files do not say which label is which organ; pass encoding='transunet'"
    ):
        read(root, tmp_path)
    with pytest.raises(
        DataError, match=r"train_npz: encoding='packed' does not fit.*as gallbladder and kidney do.*'transunet'"
    ):
        read(root, tmp_path, encoding="packed")
    write_volume(root, "0001", scaled(hu), encode(masks, "packed"))
    with pytest.raises(
        DataError, match=r"test_vol_h5: encoding='transunet' does not fit.*two kidneys.*'packed' and classes=8"
    ):
        read(root, tmp_path, encoding="transunet")
    with pytest.raises(ConfigError, match=r"hold 8 organs; pass classes=8"):
        read(root, tmp_path, encoding="transunet", classes=13)


def test_converted_cases_are_kept_until_their_sources_change(tmp_path, volume):
    hu, masks = volume
    root = tmp_path / "Synapse"
    label = encode(masks, "transunet")
    write_slices(root, "0005", scaled(hu), label)
    (case,) = read(root, tmp_path, encoding="transunet").cases
    first = case.images[0].stat().st_mtime_ns
    read(root, tmp_path, encoding="transunet")
    assert case.images[0].stat().st_mtime_ns == first
    np.savez(root / "train_npz" / "case0005_slice000.npz", image=np.zeros_like(scaled(hu[0])), label=label[0])
    read(root, tmp_path, encoding="transunet")
    assert (read_volume(case.images[0]).array[0, 0] == -125).all()


@pytest.mark.parametrize("letters", ["SPL", "SAL", "SRP", "SLA", "IPR", "ILP"])
def test_orientation_is_found_from_the_organs(volume, letters):
    _, masks = volume
    label = encode(masks, "packed").astype(np.uint8)
    order = [next(i for i, pair in enumerate(("SI", "PA", "LR")) if letter in pair) for letter in letters]
    turned = label.transpose(order)[tuple(slice(None, None, 1 if letter in "SPL" else -1) for letter in letters)]
    assert find_orientation([LabelSummary.of(turned)], "packed") == letters
    np.testing.assert_array_equal(to_canonical(turned, letters), label)


def test_without_kidneys_the_orientation_is_assumed_and_said(tmp_path, volume):
    hu, masks = volume
    label = encode({"liver": masks["liver"]}, "transunet")
    write_slices(tmp_path / "Synapse", "0005", scaled(hu), label)
    source = read(tmp_path, tmp_path, encoding="transunet")
    notes = "\n".join(source.notes)
    assert "lead towards SPL (assumed, the labels do not tell)" in notes and "taken on trust" in notes
    np.testing.assert_array_equal(read_label(source.cases[0].label).array[0], label)


def test_broken_files_are_named(tmp_path, volume):
    hu, masks = volume
    label = encode(masks, "transunet")
    root = tmp_path / "gap"
    write_slices(root, "0005", scaled(hu), label)
    (root / "train_npz" / "case0005_slice007.npz").unlink()
    with pytest.raises(DataError, match=r"case 0005 lacks slice 7 between 0 and 19.*case0005_slice007.npz again"):
        read(root, tmp_path, encoding="transunet")

    root = tmp_path / "cut"
    write_volume(root, "0001", scaled(hu), label)
    file = root / "test_vol_h5" / "case0001.npy.h5"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"case0001.npy.h5: cannot be read .*fetch the file again"):
        read(root, tmp_path, encoding="transunet")

    root = tmp_path / "keys"
    write_slices(root, "0005", scaled(hu), label, key="img")
    with pytest.raises(DataError, match=r"slice000.npz: has no array 'image'; expected 'image' and 'label'"):
        read(root, tmp_path, encoding="transunet")

    root = tmp_path / "hu"
    write_slices(root, "0005", hu.astype(np.float32), label)
    with pytest.raises(DataError, match=r"case 0005: image values from -1.* expected TransUNet's scaling"):
        read(root, tmp_path, encoding="transunet")

    root = tmp_path / "odd"
    write_slices(root, "0005", scaled(hu), label)
    np.savez(root / "train_npz" / "case0005_slice003.npz", image=scaled(hu[3]), label=label[3][:, :5])
    with pytest.raises(DataError, match=r"case0005_slice003.npz: 'label' has shape \(40, 5\), expected \(40, 48\)"):
        read(root, tmp_path, encoding="transunet")

    (tmp_path / "none" / "train_npz").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no case; expected train_npz/case0005_slice000.npz"):
        read(tmp_path / "none", tmp_path, encoding="transunet")
