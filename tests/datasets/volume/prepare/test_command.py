"""The options of ``densekit prepare``: each kind takes its own, another one is an error and not ignored."""

import json

import numpy as np
import pytest

from densekit.cli import main
from densekit.datasets.volume.store import open_store


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["phantom", "raw", "--spacing", "1", "1", "1"], "--spacing is an option of synapse and acdc"),
        (["phantom", "raw", "--native"], "--native is an option of"),
        (["phantom", "raw", "--workers", "2"], "--workers is an option of"),
        (["phantom", "raw", "data"], "phantom takes one folder, not data as well"),
        (["acdc", "raw", "data", "--classes", "8"], "--classes is an option of synapse, not of acdc"),
        (["acdc", "raw", "data", "--val-cases", "0"], "--val-cases is an option of synapse, not of acdc"),
        (["synapse", "raw", "data", "--seed", "0"], "--seed is an option of msd and nnunet and folder and phantom"),
        (
            ["acdc", "raw", "data", "--seed", "0"],
            "--seed is an option of msd and nnunet and folder and phantom, not of acdc",
        ),
        (["phantom", "raw", "--folds", "3"], "--folds is an option of synapse and acdc"),
        (["folder", "raw", "data", "--train", "3"], "--train is an option of phantom, not of folder"),
        (["folder", "raw", "data", "--native", "--spacing", "1", "1", "1"], "contradict each other"),
        (["folder", "raw"], "give the prepared folder as well"),
    ],
)
def test_an_option_of_another_kind_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert message in err[0]
    assert not list(tmp_path.iterdir())


def boxes(tmp_path, put, cases="abc"):
    """Raw data: one box in each case."""
    label = np.zeros((12, 10, 8), np.uint8)
    label[3:6, 3:6, 3:6] = 1
    for case in cases:
        put(tmp_path / "raw" / "images" / f"{case}.nii.gz")
        put(tmp_path / "raw" / "labels" / f"{case}.nii.gz", label)
    return str(tmp_path / "raw")


def test_all_folds_of_a_split_file_are_there(tmp_path, put, capsys):
    raw, out = boxes(tmp_path, put), tmp_path / "out"
    folds = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["b", "c"], "val": ["a"]}]
    (tmp_path / "raw" / "splits_final.json").write_text(json.dumps(folds))
    assert main(["prepare", "folder", raw, str(out), "--labels", "box"]) == 0
    assert json.loads((out / "splits.json").read_text())["folds"] == folds
    assert "2 train, 1 val, 0 test cases, 2 folds" in capsys.readouterr().out
    for fold, val in ((None, "c"), (0, "c"), (1, "a")):
        assert open_store(out, fold).ids("val") == [val]
    assert main(["prepare", "folder", raw, str(out), "--labels", "box", "--folds", "3"]) == 2
    assert "folds=3: the split file has 2 folds; leave one of the two out" in capsys.readouterr().err


def test_folds_are_made_of_training_and_validation_cases(tmp_path, put, capsys):
    raw, out = boxes(tmp_path, put, "abcdef"), tmp_path / "out"
    table = "case,subject,split\na,p,train\nb,p,train\nc,c,train\nd,d,val\ne,e,test\nf,f,train\n"
    (tmp_path / "raw" / "splits.csv").write_text(table)
    command = ["prepare", "folder", raw, str(out), "--labels", "box"]
    assert main([*command, "--folds", "3", "--seed", "1"]) == 0
    folds = json.loads((out / "splits.json").read_text())["folds"]
    assert sorted(case for fold in folds for case in fold["val"]) == ["a", "b", "c", "d", "f"]
    assert ["a", "b"] in [fold["val"][:2] for fold in folds]
    arrays = {path: path.stat().st_mtime_ns for path in out.glob("cases/*/*")}
    assert main([*command, "--folds", "2"]) == 0
    assert open_store(out, 1).folds == 2
    assert {path: path.stat().st_mtime_ns for path in out.glob("cases/*/*")} == arrays
    for number, message in (("9", "there are 4 patients to train and validate with"), ("0", "at least 2")):
        capsys.readouterr()
        assert main([*command, "--folds", number]) == 2
        assert message in capsys.readouterr().err


def test_a_table_and_what_may_be_lacking_reach_the_store(tmp_path, put, capsys):
    raw, out = boxes(tmp_path, put, "abcdef"), tmp_path / "out"
    (tmp_path / "raw" / "labels" / "b.nii.gz").unlink()
    (tmp_path / "t.csv").write_text(
        "case,grade,age\n" + "".join(f"{c},{n % 2},{n + 50}\n" for n, c in enumerate("abcdef"))
    )
    more = ["--may-lack", "label", "--table", str(tmp_path / "t.csv"), "--classes-from", "grade"]
    assert main(["prepare", "folder", raw, str(out), "--labels", "box", "--folds", "2", *more]) == 0
    store = open_store(out)
    assert (store.classes, store.meta) == ({"grade": ["0", "1"]}, {"age": None})
    assert (store.case("b").label, store.case("b").classes, store.case("b").meta) == (
        None,
        {"grade": "1"},
        {"age": 51.0},
    )
    for fold in (0, 1):  # an even share of the grades
        grades = [store.case(case).classes["grade"] for case in open_store(out, fold).ids("val")]
        assert sorted(grades) in (["0", "1"], ["0", "0", "1"], ["0", "1", "1"])
    assert main(["prepare", "acdc", raw, str(out), "--table", str(tmp_path / "t.csv")]) == 2
    assert "--table is an option of msd and nnunet and folder, not of acdc" in capsys.readouterr().err


def test_phantoms_without_options_are_those_that_the_help_promises(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "densekit.datasets.volume.prepare.phantom.make_phantoms", lambda out, **options: asked.update(options) or []
    )
    assert main(["prepare", "phantom", str(tmp_path), "--test", "0"]) == 0
    asked.pop("progress")
    assert asked == {"train": 10, "val": 2, "test": 0, "unseen": 1, "seed": 0}
