"""Split files that users bring, and the draw that stands in for one."""

import json

import pytest

from densekit.datasets.shared.splits import assign_splits, read_rows
from densekit.errors import DataError

CASES = ("a1", "a2", "b1", "b2", "c1")


def csv_file(tmp_path, text):
    path = tmp_path / "own.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,split\na1,train\n", r"own.csv, line 1: no column case \(the header is id, split\); expected case,split"),
        ("", r"own.csv, line 1: no column case and split \(the header is empty\)"),
        (
            "case,split\na1,train\na2,validation\n",
            r"own.csv, line 3: case 'a2', split 'validation'; .*train, val, test",
        ),
        ("case,split\na1\n", r"own.csv, line 2: case 'a1', split ''"),
        ("case,split\na1,train,x\n", r"own.csv, line 2: case 'a1', split 'train'; expected one case"),
        ("case,split\na1,train\na1,val\n", r"own.csv, line 3: case 'a1' is listed twice"),
        (
            "case,subject,split\na1,a,train\na2,a,val\n",
            r"line 3: subject 'a' is in 'val', but in 'train' on line 2; keep all",
        ),
        ("case,split\n", r"own.csv: has a header but no cases"),
        (
            "case,split\nx1,train\n",
            r"none of its cases \(x1\) is in the data set, whose cases are a1, a2, b1 and 2 more",
        ),
    ],
)
def test_malformed_csv_names_the_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        assign_splits(CASES, root=tmp_path, splits=csv_file(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("case,split\nä,train\n".encode("cp1252"), r"own.csv: is no CSV file in UTF-8 \(.*\); save it as CSV UTF-8$"),
        (b"case,split\n" + b"a" * 200_000 + b",train\n", r"own.csv: is no CSV file in UTF-8 \(field larger"),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused(tmp_path, content, message):
    path = csv_file(tmp_path, "")
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        assign_splits(CASES, root=tmp_path, splits=path)
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\); check the path and its permissions"):
        read_rows(tmp_path)


def test_a_csv_as_excel_saves_it_in_utf_8(tmp_path):
    path = csv_file(tmp_path, "")
    path.write_text("Case,Split\r\nä,val\r\n", encoding="utf-8-sig")
    assert assign_splits(["ä", "b"], root=tmp_path, splits=path).split == {"ä": "val"}


def test_nnunets_folds_are_all_taken_and_the_first_is_the_split(tmp_path):
    path = tmp_path / "splits_final.json"
    folds = [{"train": ["a1", "a2", "b1"], "val": ["b2", "z9"]}, {"train": ["c1"], "val": ["a1", "a2", "b1", "b2"]}]
    path.write_text(json.dumps(folds))
    found = assign_splits(CASES, root=tmp_path)
    assert found.split == {"a1": "train", "a2": "train", "b1": "train", "b2": "val", "c1": None}
    assert found.folds == ({"train": ["a1", "a2", "b1"], "val": ["b2"]}, folds[1])  # z9 is not there
    assert "split taken from" in found.notes[0]
    path.write_text(json.dumps([folds[0], {"train": ["a1"], "val": ["a1"]}]))
    with pytest.raises(DataError, match=r"fold 1 has a1 in train and in val"):
        assign_splits(CASES, root=tmp_path, splits=path)
    for content in ({"train": []}, [{"train": ["a1"], "val": None}]):
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"expected nnU-Net's list of folds"):
            assign_splits(CASES, root=tmp_path, splits=path)
    with pytest.raises(DataError, match=r"nowhere.csv: no such split file"):
        assign_splits(CASES, root=tmp_path, splits=tmp_path / "nowhere.csv")


def test_a_column_fold_says_where_a_case_validates(tmp_path):
    text = "case,patient,split,fold\na1,a,train,0\na2,a,train,0\nb1,b,val,1\nb2,x,train,\nc1,c,test,\n"
    found = assign_splits(CASES, root=tmp_path, splits=csv_file(tmp_path, text))
    assert found.folds == (
        {"train": ["b1", "b2"], "val": ["a1", "a2"]},
        {"train": ["a1", "a2", "b2"], "val": ["b1"]},
    )
    assert found.split["b1"] == "val" and found.patients["a2"] == "a"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a1,train,0\na2,train,2\n", r"the column fold has the numbers 0, 2; expected at least 0 and 1, without gaps"),
        ("a1,train,x\n", r"line 2: fold 'x' of a case in 'train'; expected a number"),
        ("a1,train,0\na2,test,1\n", r"line 3: fold '1' of a case in 'test'; expected .* nothing for test"),
    ],
)
def test_a_column_fold_that_cannot_be(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        assign_splits(CASES, root=tmp_path, splits=csv_file(tmp_path, f"case,split,fold\n{rows}"))


def test_a_drawn_split_depends_on_the_seed_and_not_on_the_order(tmp_path):
    ids = [f"case{i}" for i in range(40)]
    found = assign_splits(ids, root=tmp_path, seed=3)
    assert sum(split == "val" for split in found.split.values()) == 8 and "8 of 40 cases drawn" in found.notes[0]
    assert assign_splits(ids[::-1], root=tmp_path, seed=3).split == found.split
    assert assign_splits(ids, root=tmp_path, seed=4).split != found.split
    assert assign_splits(["only"], root=tmp_path).split == {"only": "train"}


def test_a_split_is_drawn_by_patient_where_patients_are_known(tmp_path):
    patients = {f"case{i}": f"p{i // 4}" for i in range(40)}
    found = assign_splits(list(patients), root=tmp_path, patients=patients)
    assert "2 of 10 patients drawn" in found.notes[0]
    validating = {patients[case] for case, split in found.split.items() if split == "val"}
    assert len(validating) == 2 and list(found.split.values()).count("val") == 8
