"""Synapse: every layout gives the same cases, split and labels."""

import json
import shutil

import numpy as np
import pytest

from densekit.datasets.volume.prepare import read_source
from densekit.datasets.volume.prepare.encodings import BTCV_LABELS, SYNAPSE_ORGANS
from densekit.datasets.volume.prepare.synapse import TEST_CASES, TRAINING_CASES, find_layout
from densekit.errors import ConfigError, DataError

CASES = ("0001", "0005", "0010", "0028")
RAW = np.zeros((12, 10, 8), dtype=np.uint8)
RAW[2:5, 2:5, 2:5] = 6
RAW[7, 7, 7] = 13


def raw_btcv(root, put):
    for case in CASES:
        put(root / "RawData" / "Training" / "img" / f"img{case}.nii.gz")
        put(root / "RawData" / "Training" / "label" / f"label{case}.nii.gz", RAW)
    put(root / "RawData" / "Testing" / "img" / "img0061.nii.gz")
    return root / "RawData"


def monai(root, put):
    for case in CASES:
        put(root / "imagesTr" / f"img{case}.nii.gz")
        put(root / "labelsTr" / f"label{case}.nii.gz", RAW)
    put(root / "imagesTs" / "img0061.nii.gz")
    (root / "dataset_0.json").write_text("{}")
    return root


def nnformer(root, put):
    root = root / "nnFormer_raw" / "Task02_Synapse"
    for case in CASES[1:]:
        put(root / "imagesTr" / f"img{case}.nii.gz")
        put(root / "labelsTr" / f"img{case}.nii.gz", RAW)
    put(root / "imagesTs" / "img0001.nii.gz")
    put(root / "labelsTs" / "label0001.nii.gz", RAW)
    put(root / "imagesTs" / "img0061.nii.gz")
    (root / "dataset.json").write_text("{}")
    return root


def nnunet(root, put):
    for case in CASES:
        put(root / "imagesTr" / f"synapse_{case}_0000.nii.gz")
        put(root / "labelsTr" / f"synapse_{case}.nii.gz", RAW)
    put(root / "imagesTs" / "synapse_0061_0000.nii.gz")
    (root / "dataset.json").write_text("{}")
    return root


def read(path, tmp_path, **options):
    return read_source("synapse", path, work=tmp_path / "work", **options)


@pytest.mark.parametrize("layout", [raw_btcv, monai, nnformer, nnunet])
def test_every_nifti_layout_gives_the_same_cases(tmp_path, put, layout):
    root = layout(tmp_path / "data", put)
    source = read(root, tmp_path)
    assert source.layout == {"raw_btcv": "btcv"}.get(layout.__name__, layout.__name__)
    assert {c.id: c.split for c in source.cases} == {"0001": "test", "0005": "train", "0010": "val", "0028": "val"}
    for case in source.cases:
        assert len(case.images) == 1 and case.id in case.images[0].name and case.id in case.label.name
        assert case.images[0] != case.label and case.images[0].is_file() and case.label.is_file()
    assert source.labels == BTCV_LABELS and source.scored == SYNAPSE_ORGANS and source.remap is None
    assert (source.normalization, source.spacing, source.convention) == ("ct", (3.0, 0.76, 0.76), "nnformer")
    notes = "\n".join(source.notes)
    assert "1 unlabelled challenge case(s) are not included: 0061" in notes
    assert "15 of the 18 training cases are missing: 0006" in notes and "11 of the 12 test cases are missing" in notes
    assert "'raw' agrees with the labels: label 13 occurs" in notes
    assert read(root.parent, tmp_path).cases == source.cases  # one level above


def test_training_itself_may_be_given(tmp_path, put):
    root = raw_btcv(tmp_path / "data", put)
    source = read(root / "Training", tmp_path)
    assert len(source.cases) == 4 and "0061" in "\n".join(source.notes)


def test_the_split_is_that_of_the_specification():
    assert len(TRAINING_CASES) == 18 and len(TEST_CASES) == 12
    everything = [f"{n:04d}" for n in (*range(1, 11), *range(21, 41))]
    assert sorted(TRAINING_CASES + TEST_CASES) == everything
    train = "0005 0006 0007 0009 0010 0021 0023 0024 0026 0027 0028 0030 0031 0033 0034 0037 0039 0040"
    assert sorted(TRAINING_CASES) == train.split()


def test_validation_is_taken_from_the_training_cases_only(tmp_path, put):
    root = raw_btcv(tmp_path / "data", put)
    assert {c.id for c in read(root, tmp_path, val_cases=0).cases if c.split == "val"} == set()
    assert {c.id for c in read(root, tmp_path, val_cases=1).cases if c.split == "val"} == {"0010"}
    assert {c.id for c in read(root, tmp_path, val_cases=["0005", 28]).cases if c.split == "val"} == {"0005", "0028"}
    with pytest.raises(ConfigError, match=r"val_cases: 0001 are not training cases.*would choose the checkpoint"):
        read(root, tmp_path, val_cases=["0001"])
    with pytest.raises(ConfigError, match=r"val_cases=18: expected 0 to 17"):
        read(root, tmp_path, val_cases=18)


def test_eight_classes_have_the_order_of_the_tables_and_drop_the_others(tmp_path, put):
    source = read(raw_btcv(tmp_path / "data", put), tmp_path, classes=8)
    assert source.labels == ("background", *SYNAPSE_ORGANS)
    assert (
        source.remap[6] == 5 and source.remap[11] == 6 and source.remap[13] == 0 and set(source.remap) == set(range(14))
    )
    assert source.mirror_pairs == (("left kidney", "right kidney"),)


def test_wrong_encoding_names_evidence_and_option(tmp_path, put):
    root = raw_btcv(tmp_path / "data", put)
    with pytest.raises(DataError, match=r"encoding='packed' does not fit.*label 13 occurs.*pass encoding='raw'$"):
        read(root, tmp_path, encoding="packed")


def test_missing_folder_says_how_to_get_and_prepare_it(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path / "RawData", tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'RawData'}: no such folder; get the abdomen data of")
    assert "synapse.org" in message and "RawData/Training/img/img0001.nii.gz" in message
    assert "densekit prepare synapse" in message and "\n" not in message


def test_unknown_layout_lists_what_was_looked_for_and_what_is_there(tmp_path):
    (tmp_path / "data" / "scans").mkdir(parents=True)
    (tmp_path / "data" / "readme.txt").touch()
    with pytest.raises(
        DataError, match=r"looked for RawData/Training.*train_npz.*, data holds readme.txt, scans/; get"
    ):
        read(tmp_path / "data", tmp_path)


def test_two_data_sets_below_one_folder_are_not_guessed_between(tmp_path, put):
    for organ in ("Abdomen", "Cervix"):
        raw_btcv(tmp_path / "data" / organ, put)
    with pytest.raises(
        DataError, match=r"Abdomen/RawData, .*Cervix/RawData all hold such a data set; give the path of one"
    ):
        find_layout(tmp_path / "data")
    assert find_layout(tmp_path / "data" / "Abdomen") == (tmp_path / "data" / "Abdomen" / "RawData", "btcv")


def test_image_without_label_names_the_file_and_where_the_label_belongs(tmp_path, put):
    root = raw_btcv(tmp_path / "data", put)
    (root / "Training" / "label" / "label0005.nii.gz").unlink()
    with pytest.raises(
        DataError, match=r"img0005.nii.gz: no label for it in .*\(1 of 4 images lack one\); put .*label0005.nii.gz"
    ):
        read(root, tmp_path)


def test_label_without_image_is_left_out_and_said(tmp_path, put):
    root = raw_btcv(tmp_path / "data", put)
    (root / "Training" / "img" / "img0005.nii.gz").unlink()
    source = read(root, tmp_path)
    assert "0005" not in {c.id for c in source.cases}
    assert any(note.startswith("labels without an image") and note.endswith("0005") for note in source.notes)


def test_renumbered_cases_are_refused(tmp_path, put):
    root = nnunet(tmp_path / "data", put)
    put(root / "imagesTr" / "synapse_0015_0000.nii.gz")
    put(root / "labelsTr" / "synapse_0015.nii.gz", RAW)
    with pytest.raises(DataError, match=r"0015 are not among BTCV's labelled cases.*keep the original numbers"):
        read(root, tmp_path)


def test_two_files_of_one_case_are_refused(tmp_path, put):
    root = raw_btcv(tmp_path / "data", put)
    folder = root / "Training" / "img"
    shutil.copy(folder / "img0001.nii.gz", folder / "copy_0001.nii.gz")
    with pytest.raises(DataError, match=r"copy_0001.nii.gz and img0001.nii.gz are both case 0001; keep one"):
        read(root, tmp_path)


def test_empty_layout_says_what_is_missing(tmp_path):
    (tmp_path / "data" / "imagesTr").mkdir(parents=True)
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match=r"no image with its label in .*imagesTr and .*labelsTr; get the abdomen data"):
        read(tmp_path / "data", tmp_path)
