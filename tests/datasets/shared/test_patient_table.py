"""Tables of patients: classes, meta-information, and what is wrong with them."""

import pytest

from densekit.datasets.shared.patient_table import PatientTable, categories, read_patient_table
from densekit.errors import ConfigError, DataError

CASES = ["a1", "a2", "b1"]


def table(tmp_path, text, classes_from=(), cases=CASES):
    path = tmp_path / "patients.csv"
    path.write_text(text)
    return read_patient_table(path, classes_from, cases)


def test_columns_are_patients_classes_and_the_rest(tmp_path):
    text = "Case,Subject,Age,Sex,Grade\na1,p,50,F,2\na2,p,,M,\nb1,,61.5,,10\n"
    found = table(tmp_path, text, ["Grade"])
    assert found.patients == {"a1": "p", "a2": "p"}
    assert found.classes == {"a1": {"grade": "2"}, "a2": {}, "b1": {"grade": "10"}}
    assert found.meta == {"a1": {"age": 50.0, "sex": "F"}, "a2": {"sex": "M"}, "b1": {"age": 61.5}}
    assert found.of("b1") == {"classes": {"grade": "10"}, "meta": {"age": 61.5}}
    assert found.of("nobody") == {"classes": {}, "meta": {}}
    assert found.notes == ()


def test_a_column_with_one_text_is_of_texts(tmp_path):
    assert table(tmp_path, "case,size\na1,3\na2,large\n").meta == {"a1": {"size": "3"}, "a2": {"size": "large"}}
    assert table(tmp_path, "case,size\na1,nan\na2,3\n").meta["a1"] == {"size": "nan"}


def test_rows_without_a_case_and_cases_without_a_row_are_said(tmp_path):
    found = table(tmp_path, "case,age\na1,3\nz,4\n")
    assert found.notes == (
        "patients.csv names 1 case(s) that are not there: z",
        "patients.csv does not name 2 case(s): a2, b1",
    )


def test_no_table(tmp_path):
    assert read_patient_table(None, None, CASES) == PatientTable()
    with pytest.raises(ConfigError, match=r"classes_from: .* give the table with table=FILE"):
        read_patient_table(None, ["grade"], CASES)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("id,grade\na1,1\n", DataError, r"line 1: no column case \(the header is id, grade\)"),
        ("case,grde\na1,1\n", ConfigError, r"classes_from=grade: .* has no such column; did you mean 'grde'"),
        ("case,grade\na1,1\na1,2\n", DataError, "line 3: case 'a1' is listed twice"),
        ("case,grade\na1,1,5\n", DataError, "line 2: case 'a1' is empty, or has more cells"),
        ("case,grade\nx,1\n", DataError, r"none of its cases \(x\) is in the data set \(a1, a2, b1\)"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, kind, message):
    with pytest.raises(kind, match=message):
        table(tmp_path, text, ["grade"])


def test_classes_are_ordered_by_size_then_by_the_alphabet():
    assert categories(["10", "b", "2", "a", "2"]) == ["2", "10", "a", "b"]


def test_spellings_of_one_class_are_one(tmp_path):
    found = table(tmp_path, "case,kind\na1,benign\na2,Benign\nb1,benign\n", ["kind"])
    assert {row["kind"] for row in found.classes.values()} == {"benign"}
    assert found.notes == (
        "patients.csv, column kind: class names are spelt differently, taken as one: 'Benign' is 'benign'",
    )
    assert len({row["kind"] for row in table(tmp_path, "case,kind\na1,1-2\na2,12\n", ["kind"]).classes.values()}) == 2
