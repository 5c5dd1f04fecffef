"""A plain folder of pairs, the split files, and the entry that all readers share."""

import json

import numpy as np
import pytest

from densekit.datasets.shared.splits import assign_splits, read_rows
from densekit.datasets.volume.prepare import options_of, read_source
from densekit.errors import ConfigError, DataError

CASES = ("a1", "a2", "b1", "b2", "c1")
LABEL = np.zeros((12, 10, 8), np.uint8)
LABEL[2, 2, 2], LABEL[3, 3, 3] = 1, 4


def fill(root, put, names=("images", "labels")):
    for case in CASES:
        put(root / names[0] / f"{case}.nii.gz")
        put(root / names[1] / f"{case}.nii.gz", LABEL)
    return root


def read(path, tmp_path, **options):
    return read_source("folder", path, work=tmp_path / "work", **options)


@pytest.mark.parametrize("names", [("images", "labels"), ("imagesTr", "labelsTr")])
def test_pairs_with_names_given(tmp_path, put, names):
    root = fill(tmp_path / "Knees", put, names)
    source = read(root, tmp_path, labels=["femur", "tibia"], channels=["CT"])
    assert source.labels == ("background", "femur", "tibia") and source.remap is None
    assert (source.name, source.layout, source.normalization) == ("knees", "folder", "ct")
    assert [c.id for c in source.cases] == list(CASES) and sum(c.split == "val" for c in source.cases) == 1
    assert read(root, tmp_path, labels=["background", "femur", "tibia"]).labels == source.labels


def test_without_names_the_values_found_are_the_classes(tmp_path, put):
    source = read(fill(tmp_path / "data", put), tmp_path)
    assert source.labels == ("background", "label 1", "label 4") and source.remap == {0: 0, 1: 1, 4: 2}
    assert source.channels == ("image",) and source.normalization == "zscore"
    notes = "\n".join(source.notes)
    assert "named by the values found (1, 4)" in notes and 'for CT pass channels=["CT"]' in notes


def test_several_channels(tmp_path, put):
    root = tmp_path / "data"
    for case in CASES:
        put(root / "labels" / f"{case}.nii.gz", LABEL)
        for channel in range(2):
            put(root / "images" / f"{case}_{channel:04d}.nii.gz")
    source = read(root, tmp_path, channels=["T1", "T2"], labels=["x"])
    assert [p.name for p in source.cases[0].images] == ["a1_0000.nii.gz", "a1_0001.nii.gz"]
    with pytest.raises(DataError, match=r"a1_0001.nii.gz: is channel 1 of case a1, but 1 channel\(s\) were named"):
        read(root, tmp_path, labels=["x"])
    (root / "images" / "b1_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case b1 lacks channel file b1_0001; 2 channels were named"):
        read(root, tmp_path, channels=["T1", "T2"], labels=["x"])


def test_image_without_label_is_an_error_and_label_without_image_a_note(tmp_path, put):
    root = fill(tmp_path / "data", put)
    (root / "images" / "a2.nii.gz").unlink()
    assert any(n.startswith("labels without an image") and n.endswith("a2") for n in read(root, tmp_path).notes)
    (root / "labels" / "b1.nii.gz").unlink()
    with pytest.raises(
        DataError, match=r"images/b1.nii.gz: no label of that name in .*labels \(1 image\(s\) of 4 lack one\)"
    ):
        read(root, tmp_path)


def test_what_is_not_there_is_said(tmp_path, put):
    with pytest.raises(DataError, match=r"nowhere: no such folder; lay the data out as PATH/images/NAME.nii.gz"):
        read(tmp_path / "nowhere", tmp_path)
    put(tmp_path / "data" / "img" / "a.nii.gz")
    with pytest.raises(
        DataError, match=r"looked for images \+ labels and imagesTr \+ labelsTr, data holds img/; lay the data"
    ):
        read(tmp_path / "data", tmp_path)
    (tmp_path / "data" / "images").mkdir()
    (tmp_path / "data" / "labels").mkdir()
    with pytest.raises(DataError, match=r"images: no volume \(.nii.gz, .nii"):
        read(tmp_path / "data", tmp_path)
    put(tmp_path / "data" / "images" / "a.nii.gz")
    put(tmp_path / "data" / "images" / "a.nii")
    with pytest.raises(DataError, match=r"images: a.nii and a.nii.gz are two files for one volume"):
        read(tmp_path / "data", tmp_path)


def test_labels_that_are_all_background_are_refused(tmp_path, put):
    put(tmp_path / "data" / "images" / "a.nii.gz")
    put(tmp_path / "data" / "labels" / "a.nii.gz", LABEL * 0)
    with pytest.raises(DataError, match=r"label values found: 0; expected the background 0 and classes above it"):
        read(tmp_path / "data", tmp_path)
    with pytest.raises(ConfigError, match=r"labels=\['x', 'x'\]: expected at least one class name, each name once"):
        read(tmp_path / "data", tmp_path, labels=["x", "x"])


def test_unknown_kinds_and_options_are_answered_with_the_close_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"kind 'synapsis' is not one of .*did you mean 'synapse'"):
        read_source("synapsis", tmp_path, work=tmp_path)
    with pytest.raises(ConfigError, match=r"option 'encodng' is not one of synapse's: .*did you mean 'encoding'"):
        read_source("synapse", tmp_path, work=tmp_path, encodng="raw")
    with pytest.raises(ConfigError, match=r"option 'seed' is not one of acdc's: it has none"):
        read_source("acdc", tmp_path, work=tmp_path, seed=1)


def test_the_options_of_a_kind_are_its_readers():
    assert options_of("synapse") == ("encoding", "classes", "val_cases")
    assert options_of("folder") == ("labels", "channels", "splits", "fold", "seed")


# Split files


def csv_file(tmp_path, text):
    path = tmp_path / "own.csv"
    path.write_text(text)
    return path


def test_a_csv_decides_and_what_it_leaves_out_is_said(tmp_path, put):
    root = fill(tmp_path / "data", put)
    splits = csv_file(tmp_path, "subject,case,split\na,a1,train\na,a2,train\nb,b1,val\nc,c1,test\nz,z9,val\n")
    source = read(root, tmp_path, labels=["x"], splits=splits)
    assert {c.id: c.split for c in source.cases} == {"a1": "train", "a2": "train", "b1": "val", "c1": "test"}
    notes = "\n".join(source.notes)
    assert "own.csv does not name 1 case(s), which are left out: b2" in notes
    assert "own.csv names 1 case(s) that are not there: z9" in notes
    splits.rename(root / "splits.csv")
    again = read(root, tmp_path, labels=["x"])
    assert again.cases == source.cases and any("split taken from" in note for note in again.notes)


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
    assert assign_splits(["ä", "b"], root=tmp_path, splits=path)[0] == {"ä": "val"}


def test_nnunet_folds(tmp_path):
    path = tmp_path / "splits_final.json"
    folds = [{"train": ["a1", "a2", "b1"], "val": ["b2", "c1"]}, {"train": ["c1"], "val": ["a1", "a2", "b1", "b2"]}]
    path.write_text(json.dumps(folds))
    table, notes = assign_splits(CASES, root=tmp_path)
    assert [case for case, split in table.items() if split == "val"] == ["b2", "c1"] and "split taken from" in notes[0]
    table, _ = assign_splits(CASES, root=tmp_path, splits=path, fold=1)
    assert [case for case, split in table.items() if split == "train"] == ["c1"]
    with pytest.raises(ConfigError, match=r"fold=2: .*splits_final.json has the folds 0 to 1"):
        assign_splits(CASES, root=tmp_path, splits=path, fold=2)
    path.write_text(json.dumps([{"train": ["a1"], "val": ["a1"]}]))
    with pytest.raises(DataError, match=r"fold 0 has a1 in train and in val"):
        assign_splits(CASES, root=tmp_path, splits=path)
    path.write_text(json.dumps({"train": []}))
    with pytest.raises(DataError, match=r"expected nnU-Net's list of folds"):
        assign_splits(CASES, root=tmp_path, splits=path)
    with pytest.raises(DataError, match=r"nowhere.csv: no such split file"):
        assign_splits(CASES, root=tmp_path, splits=tmp_path / "nowhere.csv")


def test_a_drawn_split_depends_on_the_seed_and_not_on_the_order(tmp_path):
    ids = [f"case{i}" for i in range(40)]
    table, notes = assign_splits(ids, root=tmp_path, seed=3)
    assert sum(split == "val" for split in table.values()) == 8 and "8 of 40 cases drawn" in notes[0]
    assert assign_splits(ids[::-1], root=tmp_path, seed=3)[0] == table
    assert assign_splits(ids, root=tmp_path, seed=4)[0] != table
    assert assign_splits(["only"], root=tmp_path)[0] == {"only": "train"}
