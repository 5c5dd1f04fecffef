"""dataset.json folders: the Decathlon's, nnU-Net's version 1 and 2."""

import json

import nibabel as nib
import numpy as np
import pytest

from densekit.datasets.volume.prepare import read_source
from densekit.datasets.volume.prepare.msd import mirror_pairs
from densekit.errors import DataError
from densekit.io import read_volume

CASES = ("liver_1", "liver_2", "liver_3", "liver_4", "liver_5")


def describe(root, **changes):
    content = {
        "name": "LIVER",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "numTraining": 5,
        "training": [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in CASES],
        "test": ["./imagesTs/liver_9.nii.gz"],
    } | changes
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def describe_v2(root, channels=("CT",), **changes):
    v2 = {
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "labels": {"background": 0, "liver": 1, "cancer": 2},
        "file_ending": ".nii.gz",
    }
    describe(root, **({"modality": None, "training": None, "name": None} | v2 | changes))


def fill(root, put, suffix="", part="Tr", cases=CASES):
    for case in cases:
        put(root / f"images{part}" / f"{case}{suffix}.nii.gz")
        put(root / f"labels{part}" / f"{case}.nii.gz")


def read(path, tmp_path, kind="msd", **options):
    return read_source(kind, path, work=tmp_path / "work", **options)


@pytest.mark.parametrize("suffix", ["", "_0000"])
def test_version_1_as_the_decathlon_and_as_nnunet_writes_it(tmp_path, put, suffix):
    root = tmp_path / "Task03_Liver"
    describe(root)
    fill(root, put, suffix)
    put(root / "imagesTr" / "._liver_1.nii.gz")  # macOS leaves these in the archives
    put(root / "imagesTs" / "liver_9.nii.gz")
    source = read(root, tmp_path)
    assert (source.name, source.channels, source.labels) == ("liver", ("CT",), ("background", "liver", "cancer"))
    assert (source.normalization, source.spacing, source.remap) == ("ct", "median", None)
    assert sorted(c.id for c in source.cases) == list(CASES)
    assert sorted(c.split for c in source.cases) == ["train"] * 4 + ["val"]
    assert all(c.images[0].name == f"{c.id}{suffix}.nii.gz" and c.label.is_file() for c in source.cases)
    notes = "\n".join(source.notes)
    assert "1 of 5 cases drawn for validation (seed 0)" in notes and "1 test image(s) without label" in notes
    assert read(tmp_path, tmp_path).cases == source.cases  # one level above


def test_version_2_with_channels_and_a_labelled_test_set(tmp_path, put):
    root = tmp_path / "Dataset007_Pelvis"
    describe_v2(root, channels=("T1", "T2"), numTraining=6)
    fill(root, put, "_0000")
    fill(root, put, "_0001")
    fill(root, put, "_0000", "Ts", ["liver_8"])
    fill(root, put, "_0001", "Ts", ["liver_8"])
    put(root / "imagesTs" / "liver_9_0000.nii.gz")
    put(root / "imagesTs" / "liver_9_0001.nii.gz")
    source = read(root, tmp_path, "nnunet")
    assert (source.name, source.layout, source.normalization) == ("dataset007_pelvis", "nnunet-v2", "zscore")
    assert source.channels == ("T1", "T2") and source.labels == ("background", "liver", "cancer")
    test = [c for c in source.cases if c.split == "test"]
    assert [c.id for c in test] == ["liver_8"] and [p.name[-11:-7] for p in test[0].images] == ["0000", "0001"]
    notes = "\n".join(source.notes)
    assert "numTraining 6, 5 case(s) are there" in notes and "1 test image(s) without label are not included" in notes
    (root / "imagesTr" / "liver_2_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"imagesTr: case liver_2 lacks channel file liver_2_0001"):
        read(root, tmp_path, "nnunet")


def test_version_2_may_list_files_elsewhere(tmp_path, put):
    root = tmp_path / "Dataset001"
    fill(tmp_path / "store", put)
    entries = {
        c: {"images": [f"../store/imagesTr/{c}.nii.gz"], "label": f"../store/labelsTr/{c}.nii.gz"} for c in CASES
    }
    describe_v2(root, dataset=entries)
    assert len(read(root, tmp_path, "nnunet").cases) == 5


def test_4d_images_are_split_into_channels_once(tmp_path, put):
    root = tmp_path / "Task05_Prostate"
    describe(root, modality={"0": "T2", "1": "ADC"})
    fill(root, put)
    voxels = np.random.default_rng(0).normal(size=(6, 5, 4, 2)).astype(np.float32)
    for case in CASES:
        put(root / "imagesTr" / f"{case}.nii.gz", voxels)
    case = read(root, tmp_path).cases[0]
    assert len(case.images) == 2
    for channel, path in enumerate(case.images):
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.geometry.restore(volume.array[0]), voxels[..., channel])
        np.testing.assert_array_equal(volume.geometry.affine, nib.load(root / "imagesTr" / "liver_1.nii.gz").affine)
    made = case.images[0].stat().st_mtime_ns
    assert read(root, tmp_path).cases[0].images[0].stat().st_mtime_ns == made
    put(root / "imagesTr" / "liver_3.nii.gz", voxels[..., :1])
    with pytest.raises(
        DataError, match=r"liver_3.nii.gz: has shape \(6, 5, 4, 1\), but dataset.json names 2 channels \(T2, ADC\)"
    ):
        read(root, tmp_path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_4d_image_that_is_cut_short_is_named(tmp_path, put, suffix, kept):
    root = tmp_path / "Task05_Prostate"
    describe(root, modality={"0": "T2", "1": "ADC"}, training=[{"image": f"a{suffix}", "label": "l.nii.gz"}])
    put(root / "l.nii.gz")
    image = root / f"a{suffix}"
    put(image, np.random.default_rng(0).normal(size=(16, 15, 14, 2)).astype(np.float32))
    image.write_bytes(image.read_bytes()[: int(kept * image.stat().st_size)])
    with pytest.raises(DataError, match=rf"a{suffix}: cannot be read \(.*\); unpack the data set again$"):
        read(root, tmp_path)


def test_a_4d_image_with_damaged_bytes_is_named(tmp_path, put):
    root = tmp_path / "Task05_Prostate"
    describe(root, modality={"0": "T2", "1": "ADC"}, training=[{"image": "a.nii.gz", "label": "l.nii.gz"}])
    put(root / "l.nii.gz")
    put(root / "a.nii.gz", np.random.default_rng(0).integers(0, 9, size=(16, 15, 14, 2)).astype(np.float32))
    data = bytearray((root / "a.nii.gz").read_bytes())
    data[100:140] = b"\xff" * 40
    (root / "a.nii.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"a.nii.gz: cannot be read \(Error -3 while decompressing"):
        read(root, tmp_path)


def test_label_values_with_gaps_are_packed(tmp_path, put):
    describe_v2(tmp_path / "data", labels={"background": 0, "tumour": 7, "cyst": 3})
    fill(tmp_path / "data", put, "_0000")
    source = read(tmp_path / "data", tmp_path)
    assert source.labels == ("background", "cyst", "tumour") and source.remap == {0: 0, 3: 1, 7: 2}


def test_left_and_right_are_paired_by_name_but_not_the_chambers_of_the_heart():
    assert mirror_pairs(["background", "left kidney", "Kidney_Left", "right kidney", "kidney_right", "cleft"]) == (
        ("left kidney", "right kidney"),
        ("Kidney_Left", "kidney_right"),
    )
    assert mirror_pairs(["left ventricle", "right ventricle", "right atrium", "left atrium"]) == ()
    assert mirror_pairs(["left lateral ventricle", "right lateral ventricle"]) == (
        ("left lateral ventricle", "right lateral ventricle"),
    )


def test_absent_files_are_named(tmp_path, put):
    root = tmp_path / "data"
    describe(root)
    fill(root, put)
    (root / "labelsTr" / "liver_2.nii.gz").unlink()
    with pytest.raises(
        DataError, match=r"labelsTr/liver_2.nii.gz: listed in dataset.json for case liver_2, but not there"
    ):
        read(root, tmp_path)
    describe_v2(root)
    fill(root, put, "_0000", cases=["liver_1"])
    put(root / "imagesTr" / "liver_2_0000.nii.gz")
    with pytest.raises(DataError, match=r"liver_2_0000.nii.gz: no label for it; put liver_2 into .*labelsTr"):
        read(root, tmp_path, "nnunet")
    describe_v2(tmp_path / "bare")
    with pytest.raises(
        DataError, match=r"lists no training cases, and imagesTr, .* is not a folder; unpack the data set to"
    ):
        read(tmp_path / "bare", tmp_path, "nnunet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": {"background": 0, "whole": [1, 2]}},
            r"label 'whole' is a region \[1, 2\]; densekit trains one class per",
        ),
        ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, r"label 2 is nnU-Net's 'ignore'"),
        ({"labels": {"liver": 1}}, r"'labels' has the values 1; the background 0 and a class are needed"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, r"'labels' has 'b': 1; expected .* each value once"),
        ({"labels": ["liver"]}, r"'labels' is \['liver'\]; expected \{\"0\": \"background\""),
        ({"modality": {"1": "CT"}}, r"'modality' is \{'1': 'CT'\}; expected the channels by number"),
        ({"training": [{"image": "a.nii.gz"}]}, r"training\[0\] is \{'image': 'a.nii.gz'\}; expected"),
    ],
)
def test_malformed_contents_are_named(tmp_path, put, changes, message):
    describe(tmp_path / "data", **changes)
    fill(tmp_path / "data", put)
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path / "data", tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'data' / 'dataset.json'}: ") and "\n" not in str(error.value)


def test_broken_json_names_the_line_and_missing_json_the_alternative(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"no dataset.json there .*, data is empty;.*use `densekit prepare folder`"):
        read(tmp_path / "data", tmp_path)
    (tmp_path / "data" / "dataset.json").write_text('{\n  "labels": {\n    "0": "background",,\n')
    with pytest.raises(DataError, match=r"dataset.json, line 3, column 23: not valid JSON"):
        read(tmp_path / "data", tmp_path)
    with pytest.raises(DataError, match=r"nowhere: no such folder; unpack the data set to"):
        read(tmp_path / "nowhere", tmp_path)
