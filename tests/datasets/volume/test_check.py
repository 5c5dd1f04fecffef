"""densekit check finds what is planted, names the case, and is quiet about a sound data set."""

import json
import shutil

import numpy as np
import pytest

from densekit import progress
from densekit.cli import main
from densekit.datasets.volume import check as check_module
from densekit.io import Geometry, write_image, write_label


def write_raw(folder, cases=8):
    """A plain folder of image/label pairs: one bright box each."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(cases):
        geometry = Geometry((14, 12, 10), np.diag([1.0, 1.0, 2.0, 1.0]))
        rng = np.random.default_rng(number)
        label = np.zeros((10, 12, 14), np.uint8)
        label[2:6, 3:8, 4 : 8 + number % 2] = 1
        image = (rng.normal(0, 5, label.shape) + 50 * label).astype(np.int16)
        write_image(folder / "images" / f"c{number}.nii.gz", image, geometry)
        write_label(folder / "labels" / f"c{number}.nii.gz", label, geometry, like=None, names=None)
    return folder


@pytest.fixture
def raw(tmp_path):
    return write_raw(tmp_path / "raw")


@pytest.fixture
def prepared(raw, tmp_path):
    assert main(["prepare", "folder", str(raw), str(tmp_path / "data"), "--labels", "box", "--channels", "MR"]) == 0
    return tmp_path / "data"


def run(capsys, *arguments):
    capsys.readouterr()
    status = main(["check", *map(str, arguments)])
    return status, capsys.readouterr()


def test_a_sound_data_set_has_no_errors(prepared, raw, capsys):
    for arguments in ([prepared], [raw, "--kind", "folder"]):
        status, output = run(capsys, *arguments)
        assert status == 0, output
        assert "8 cases checked, 0 errors" in output.out


def test_an_option_for_boxes_decides_and_does_not_go_with_one_for_volumes(prepared, capsys):
    status, output = run(capsys, prepared, "--html", "findings.html", "--kind", "folder")
    message = "--kind is for data of the task 'volume', --html is for data of the task 'detection' or 'segmentation'"
    assert (status, output.err) == (2, f"densekit check: {message}; leave one of them out\n")
    status, output = run(capsys, prepared, "--format", "coco")
    assert status == 2 and "coco" in output.err.lower() and output.err.count("\n") == 1


def test_the_same_scan_in_two_splits_is_an_error(raw, tmp_path, capsys):
    shutil.copy(raw / "images" / "c0.nii.gz", raw / "images" / "c1.nii.gz")
    (tmp_path / "s.csv").write_text(
        "case,split\n" + "".join(f"c{i},{'val' if i == 1 else 'train'}\n" for i in range(8))
    )
    assert main(["prepare", "folder", str(raw), str(tmp_path / "data"), "--splits", str(tmp_path / "s.csv")]) == 0
    status, output = run(capsys, tmp_path / "data")
    assert status == 2
    assert "the same scan is there as c0, c1, in different splits" in output.out


def test_the_file_of_splits_is_checked(prepared, capsys):
    ids = [f"c{n}" for n in range(8)]
    fold = {"train": ids[2:], "val": ids[:2]}
    contents = {"splits": {"train": [*ids[:4], "c9"], "val": ["c3"], "test": []}, "folds": [fold]}
    (prepared / "splits.json").write_text(json.dumps(contents))
    status, output = run(capsys, prepared)
    assert status == 2 and "2 errors" in output.out
    assert "splits.json: split train has case 'c9', which is not there" in output.out
    assert "splits.json: splits: case 'c3' is in train and val; keep each patient in one of them" in output.out
    contents = {"splits": {"train": ids[:4], "val": ids[4:6], "test": []}}
    (prepared / "splits.json").write_text(json.dumps(contents))
    status, output = run(capsys, prepared)
    assert (
        status == 0
        and "2 cases are in no split and no fold of splits.json, so nothing reads them: c6, c7" in output.out
    )
    (prepared / "splits.json").unlink()
    status, output = run(capsys, prepared)
    assert status == 2 and "splits.json: is gone; run `densekit prepare` again" in output.err


def test_the_same_scan_on_both_sides_of_a_fold_is_an_error(raw, tmp_path, capsys):
    shutil.copy(raw / "images" / "c0.nii.gz", raw / "images" / "c1.nii.gz")
    rows = "".join(f"c{i},{'val' if i > 5 else 'train'},{i % 2}\n" for i in range(8))
    (tmp_path / "s.csv").write_text(f"case,split,fold\n{rows}")
    assert main(["prepare", "folder", str(raw), str(tmp_path / "data"), "--splits", str(tmp_path / "s.csv")]) == 0
    status, output = run(capsys, tmp_path / "data")
    assert status == 2 and "the same scan is there as c0, c1, in different splits" in output.out


def test_a_class_that_no_training_case_of_a_fold_has_is_a_warning(raw, tmp_path, capsys):
    geometry = Geometry((14, 12, 10), np.diag([1.0, 1.0, 2.0, 1.0]))
    label = np.zeros((10, 12, 14), np.uint8)
    label[2:6, 3:8, 4:8] = 2
    write_label(raw / "labels" / "c1.nii.gz", label, geometry, like=None, names=None)
    rows = "".join(f"c{i},{'val' if i > 5 else 'train'},{i % 2}\n" for i in range(8))
    (tmp_path / "s.csv").write_text(f"case,split,fold\n{rows}")
    assert main(["prepare", "folder", str(raw), str(tmp_path / "data"), "--splits", str(tmp_path / "s.csv")]) == 0
    status, output = run(capsys, tmp_path / "data")
    assert status == 0 and "no training case of fold 1 has a voxel of label 2" in output.out
    assert output.out.count("no training case") == 1


def test_a_foreground_index_beyond_the_volume_is_found(prepared, capsys):
    index = np.load(prepared / "cases" / "c6" / "foreground.npy")
    np.save(prepared / "cases" / "c6" / "foreground.npy", index + 100)
    status, output = run(capsys, prepared)
    assert status == 2
    assert "error: c6: " in output.out
    assert "does not belong to label.npy" in output.out


def test_damaged_arrays_are_found(prepared, capsys):
    label = np.load(prepared / "cases" / "c2" / "label.npy")
    np.save(prepared / "cases" / "c2" / "label.npy", label + 5)
    np.save(prepared / "cases" / "c3" / "label.npy", label[:4])
    np.save(prepared / "cases" / "c4" / "label.npy", np.roll(label, 3, axis=0))
    (prepared / "cases" / "c5" / "image.npy").write_bytes(b"nothing")
    status, output = run(capsys, prepared)
    assert status == 2
    for words in (
        "c2: ",
        "holds value 6",
        "c3: ",
        "the image (",
        "c4: ",
        "does not belong to label.npy",
        "c5: ",
        "cannot be read",
    ):
        assert words in output.out
    assert "4 errors" in output.out


def test_an_organ_out_of_line_is_a_warning_with_its_volume(raw, tmp_path, capsys):
    geometry = Geometry((14, 12, 10), np.diag([1.0, 1.0, 2.0, 1.0]))
    tiny = np.zeros((10, 12, 14), np.uint8)
    tiny[5, 5, 5] = 1
    (raw / "labels" / "c7.nii.gz").unlink()
    write_label(raw / "labels" / "c7.nii.gz", tiny, geometry, like=None, names=None)
    status, output = run(capsys, raw, "--kind", "folder", "--json", tmp_path / "findings.json")
    assert status == 0
    assert "warning: c7: " in output.out
    assert "0.002 ml" in output.out
    findings = json.loads((tmp_path / "findings.json").read_text())["findings"]
    assert [f["case"] for f in findings if "ml" in f["message"]] == ["c7"]


def test_raw_problems_name_case_and_file(raw, capsys):
    geometry = Geometry((14, 12, 9), np.diag([1.0, 1.0, 2.0, 1.0]))
    (raw / "labels" / "c3.nii.gz").unlink()
    write_label(raw / "labels" / "c3.nii.gz", np.zeros((9, 12, 14), np.uint8), geometry, like=None, names=None)
    whole = (raw / "images" / "c4.nii.gz").read_bytes()
    (raw / "images" / "c4.nii.gz").write_bytes(whole[: len(whole) // 2])
    status, output = run(capsys, raw, "--kind", "folder")
    assert status == 2
    assert "error: c3: " in output.out
    assert "different grids" in output.out
    assert "error: c4: " in output.out


def test_what_cannot_be_checked_is_said(tmp_path, raw, capsys):
    status, output = run(capsys, raw)
    assert (status, "--kind" in output.err) == (2, True)
    status, output = run(capsys, tmp_path / "nothing")
    assert (status, "nothing: no such file or folder; check the path" in output.err) == (2, True)
    status, output = run(capsys, raw, "--encoding", "raw")
    assert (status, "--kind=synapse" in output.err) == (2, True)


def test_what_is_good_to_know_is_a_note_and_what_weighs_a_warning(raw, tmp_path, capsys):
    path = raw / "labels" / "c1.nii.gz"
    write_label(path, np.zeros((10, 12, 14), np.uint8), Geometry((14, 12, 10), np.eye(4)), like=None, names=None)
    path = raw / "images" / "c1.nii.gz"
    noise = np.random.default_rng(1).normal(0, 5, (10, 12, 14)).astype(np.int16)
    write_image(path, noise, Geometry((14, 12, 10), np.eye(4)))
    assert main(["prepare", "folder", str(raw), str(tmp_path / "data"), "--labels", "box", "--channels", "MR"]) == 0
    _, output = run(capsys, tmp_path / "data")
    drawn = [line for line in output.out.splitlines() if "drawn" in line]
    assert drawn and all(line.startswith("note: ") for line in drawn)
    assert "warning: c1: no voxel is labelled" in output.out


def test_data_without_training_cases_are_sound_and_said_to_be_for_scoring(raw, tmp_path, capsys):
    table = tmp_path / "splits.csv"
    table.write_text("case,split\n" + "".join(f"c{number},test\n" for number in range(8)))
    command = ["prepare", "folder", str(raw), str(tmp_path / "data"), "--labels", "box", "--channels", "MR"]
    assert main([*command, "--splits", str(table)]) == 0
    status, output = run(capsys, tmp_path / "data")
    assert status == 0
    assert "note: holds only test: it can be scored, not trained on" in output.out
    assert "0 errors, 0 warnings" in output.out


def test_a_long_check_tells_in_a_log_how_far_it_is(monkeypatch, caplog):
    monkeypatch.setattr(progress, "FIRST", 0)
    caplog.set_level("INFO", logger="densekit")
    assert list(check_module._progress(["a", "b"])) == ["a", "b"]
    assert [record.message.partition(",")[0] for record in caplog.records] == ["1 of 2 cases checked"]
