"""The file of splits and folds: written, edited by hand, checked."""

import json

import pytest

from densekit.datasets.shared.split_file import Splits
from densekit.errors import ConfigError, DataError

PATIENTS = {"a1": "a", "a2": "a", "b1": "b1", "c1": "c1"}
NAMED = {"train": ["a1", "a2"], "val": ["b1"], "test": ["c1"]}
FOLDS = ({"train": ["a1", "a2"], "val": ["b1"]}, {"train": ["b1"], "val": ["a1", "a2"]})


def test_what_is_written_is_read(tmp_path):
    splits = Splits(NAMED, FOLDS, by="patient", seed=3)
    splits.write(tmp_path / "splits.json")
    assert Splits.read(tmp_path / "splits.json") == splits
    assert splits.problems(PATIENTS) == []
    (tmp_path / "splits.json").write_text(json.dumps({"splits": NAMED}))  # the least that a hand has to write
    assert Splits.read(tmp_path / "splits.json") == Splits(NAMED)


def test_a_fold_takes_the_place_of_train_and_val():
    splits = Splits(NAMED, FOLDS)
    assert splits.of(None) == NAMED
    assert splits.of(1) == {"train": ["b1"], "val": ["a1", "a2"], "test": ["c1"]}
    for fold in (2, -1, True, "1"):
        with pytest.raises(ConfigError, match=f"^fold={fold}: the data set has 2 folds, 0 to 1$"):
            splits.of(fold)
    with pytest.raises(ConfigError, match="fold=0: the data set has no folds; make them with `densekit prepare"):
        Splits(NAMED).of(0)


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        (Splits({"train": ["a1", "d1"]}), "split train has case 'd1', which is not there"),
        (Splits({"train": ["a1", "a1"]}), "split train has case 'a1' 2 times; keep one"),
        (Splits({"train": ["a1"], "test": ["a2"]}), "splits: patient 'a' is in train (a1) and test (a2); keep each"),
        (Splits({"train": ["b1"], "val": ["b1"]}), "splits: case 'b1' is in train and val; keep each patient in one"),
        (Splits({}, ({"train": [], "val": ["z"]},)), "fold 0, val, has case 'z', which is not there"),
        (
            Splits({}, (FOLDS[0], {"train": ["a1"], "val": ["a2"]})),
            "fold 1: patient 'a' is in train (a1) and val (a2); keep each patient in one of them",
        ),
        (Splits({"test": ["a1"]}, FOLDS[:1]), "fold 0: case 'a1' is in train and test; keep each patient in one"),
    ],
)
def test_a_problem_names_the_case(splits, problem):
    found = splits.problems(PATIENTS)
    assert any(line.startswith(problem) for line in found), found


def test_a_mistyped_case_is_answered_with_the_close_ones():
    (problem,) = Splits({"train": ["patent1"]}).problems({"patient1": "p"})
    assert problem == "split train has case 'patent1', which is not there; did you mean 'patient1'?"


def test_a_split_of_another_name_may_hold_what_it_likes():
    assert Splits({**NAMED, "small": ["a1", "b1"]}).problems(PATIENTS) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r'splits.json: expected \{"splits"'),
        ({"splits": NAMED, "fold": []}, "splits.json: unknown key 'fold'; did you mean 'folds'"),
        ({"splits": {"train": "a1"}}, "splits is not a list of case ids for each name"),
        ({"splits": {"train": [1]}}, "splits is not a list of case ids for each name"),
        ({"splits": NAMED, "folds": [{"train": ["a1"]}]}, "folds is not a list of"),
        ({"splits": NAMED, "folds": {"train": []}}, "folds is not a list of"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, content, message):
    (tmp_path / "splits.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        Splits.read(tmp_path / "splits.json")


def test_a_slip_of_the_pen_is_told_with_its_line(tmp_path):
    (tmp_path / "splits.json").write_text('{"splits": {\n"train": ["a1",,]}}')
    with pytest.raises(DataError, match=r"splits\.json, line 2, column"):
        Splits.read(tmp_path / "splits.json")
