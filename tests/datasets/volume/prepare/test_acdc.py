"""ACDC: ED and ES from Info.cfg, nnFormer's split by patient, both layouts."""

import numpy as np
import pytest

from densekit.datasets.volume.prepare import read_source
from densekit.datasets.volume.prepare.acdc import PATIENTS, TEST_PATIENTS, VALIDATION_PATIENTS
from densekit.errors import DataError


def patient(training, number, put, frames=(1, 12), info=True):
    folder = training / f"patient{number:03d}"
    put(folder / f"{folder.name}_4d.nii.gz", np.zeros((4, 4, 3, 5), np.int16))
    for frame in frames:
        put(folder / f"{folder.name}_frame{frame:02d}.nii.gz")
        put(folder / f"{folder.name}_frame{frame:02d}_gt.nii.gz")
    if info:
        lines = (f"ED: {frames[0]}", f"ES: {frames[1]}", "Group: DCM", "Height: 184.0", "NbFrame: 30", "Weight: 95.0")
        (folder / "Info.cfg").write_text("\n".join(lines) + "\n")


def read(path, tmp_path):
    return read_source("acdc", path, work=tmp_path / "work")


def test_raw_layout_takes_both_frames_of_info_cfg(tmp_path, put):
    for number in (1, 2, 90):
        patient(tmp_path / "ACDC" / "training", number, put, frames=(4, 11) if number == 90 else (1, 12))
    patient(tmp_path / "ACDC" / "testing", 101, put)
    source = read(tmp_path / "ACDC", tmp_path)
    assert {c.id: c.split for c in source.cases} == {
        "patient001_frame01": "train",
        "patient001_frame12": "train",
        "patient002_frame01": "test",
        "patient002_frame12": "test",
        "patient090_frame04": "val",
        "patient090_frame11": "val",
    }
    assert all(c.label.name == f"{c.id}_gt.nii.gz" and c.images[0].name == f"{c.id}.nii.gz" for c in source.cases)
    assert source.labels == ("background", "RV", "Myo", "LV") and source.layout == "raw"
    assert (source.normalization, source.spacing, source.convention) == ("zscore", (6.35, 1.52, 1.52), "nnformer")
    notes = "\n".join(source.notes)
    assert "testing: 1 patient(s) ignored" in notes and "97 of the 100 patients are missing: 003" in notes
    for above_or_below in (tmp_path, tmp_path / "ACDC" / "training"):
        assert read(above_or_below, tmp_path).cases == source.cases


def test_nnformer_layout_with_any_suffix(tmp_path, put):
    root = tmp_path / "Task01_ACDC"
    put(root / "imagesTr" / "patient001_frame01.nii.gz")
    put(root / "labelsTr" / "patient001_frame01_gt.nii.gz")
    put(root / "imagesTr" / "patient003_frame15_0000.nii.gz")
    put(root / "labelsTr" / "patient003_frame15.nii.gz")
    put(root / "imagesTs" / "patient008_frame01.nii.gz")
    put(root / "labelsTs" / "patient008_frame01_gt.nii.gz")
    source = read(tmp_path, tmp_path)
    assert source.layout == "nnformer"
    assert [(c.id, c.split) for c in source.cases] == [
        ("patient001_frame01", "train"),
        ("patient003_frame15", "test"),
        ("patient008_frame01", "test"),
    ]
    (root / "labelsTr" / "patient001_frame01_gt.nii.gz").unlink()
    with pytest.raises(
        DataError, match=r"patient001_frame01.nii.gz: no label for it in .*labelsTr.*put patient001_frame01_gt"
    ):
        read(root, tmp_path)


def test_the_split_is_that_of_the_specification():
    test = "002 003 008 009 012 014 017 024 042 048 049 053 055 064 067 079 081 088 092 095"
    assert sorted(TEST_PATIENTS) == [int(n) for n in test.split()]
    assert sorted(VALIDATION_PATIENTS) == [89, 90, 91, 93, 94, 96, 97, 98, 99, 100]
    assert len(set(PATIENTS) - TEST_PATIENTS - VALIDATION_PATIENTS) == 70


@pytest.mark.parametrize("info", ["absent", "without ES"])
def test_without_info_cfg_the_labels_tell_the_frames_and_a_note_says_so(tmp_path, put, info):
    patient(tmp_path / "training", 5, put, frames=(1, 13), info=False)
    if info == "without ES":
        (tmp_path / "training" / "patient005" / "Info.cfg").write_text("ED: 1\nES: \n")
    source = read(tmp_path, tmp_path)
    assert [c.id for c in source.cases] == ["patient005_frame01", "patient005_frame13"]
    assert any("ED and ES of patient005 taken from the names of the labels" in note for note in source.notes)


def test_what_cannot_be_used_is_refused(tmp_path, put):
    with pytest.raises(
        DataError, match=r"nowhere: no such folder; get ACDC from its challenge page.*densekit prepare acdc"
    ):
        read(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"no layout of ACDC recognised; looked for training/patient001.*, empty is empty; get"
    ):
        read(tmp_path / "empty", tmp_path)
    patient(tmp_path / "raw" / "training", 7, put)
    (tmp_path / "raw" / "training" / "patient007" / "patient007_frame12_gt.nii.gz").unlink()
    with pytest.raises(
        DataError, match=r"patient007: no label patient007_frame12_gt.nii.gz, though Info.cfg.* frame 12"
    ):
        read(tmp_path / "raw", tmp_path)
    (tmp_path / "slices" / "train").mkdir(parents=True)
    np.savez(tmp_path / "slices" / "train" / "case_001_sliceED_0.npz", img=np.zeros((2, 2)), label=np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"train: holds preprocessed 2D slices, .* give the raw data set"):
        read(tmp_path / "slices", tmp_path)
    patient(tmp_path / "challenge", 120, put)
    with pytest.raises(DataError, match=r"no labelled frame of patients 001 to 100"):
        read(tmp_path / "challenge", tmp_path)
