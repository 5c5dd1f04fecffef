"""A plain folder of pairs, what its cases may lack, and the entry that all readers share."""

import numpy as np
import pytest

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
    assert "named by the values found (1, 4)" in notes and "for CT say so: --channels CT" in notes


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
    assert options_of("folder") == (
        *("labels", "channels", "may_lack", "splits", "table", "classes_from"),
        *("boxes", "box_mode", "box_classes", "seed"),
    )


def test_a_csv_decides_and_what_it_leaves_out_is_said(tmp_path, put):
    root = fill(tmp_path / "data", put)
    splits = tmp_path / "own.csv"
    splits.write_text("subject,case,split\na,a1,train\na,a2,train\nb,b1,val\nc,c1,test\nz,z9,val\n")
    source = read(root, tmp_path, labels=["x"], splits=splits)
    assert {c.id: c.split for c in source.cases} == {"a1": "train", "a2": "train", "b1": "val", "c1": "test"}
    assert [c.patient for c in source.cases] == ["a", "a", "b", "c"]
    notes = "\n".join(source.notes)
    assert "own.csv does not name 1 case(s), which are left out: b2" in notes
    assert "own.csv names 1 case(s) that are not there: z9" in notes
    splits.rename(root / "splits.csv")
    again = read(root, tmp_path, labels=["x"])
    assert again.cases == source.cases and any("split taken from" in note for note in again.notes)


def test_a_case_may_lack_what_is_declared(tmp_path, put):
    root = tmp_path / "data"
    for case in ("a", "b", "c"):
        for channel in range(2):
            put(root / "images" / f"{case}_{channel:04d}.nii.gz")
        put(root / "labels" / f"{case}.nii.gz", LABEL)
    (root / "images" / "b_0001.nii.gz").unlink()
    (root / "labels" / "c.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case b lacks channel file b_0001; .* declare .* with may_lack=T2"):
        read(root, tmp_path, channels=["T1", "T2"], may_lack=["label"])
    with pytest.raises(DataError, match=r"c_0000.nii.gz: no label of that name .* declare it with may_lack=label"):
        read(root, tmp_path, channels=["T1", "T2"], may_lack=["T2"])
    with pytest.raises(ConfigError, match=r"may_lack='T3': expected a channel or 'label'"):
        read(root, tmp_path, channels=["T1", "T2"], may_lack=["T3"])
    source = read(root, tmp_path, channels=["T1", "T2"], may_lack=["label", "T2"])
    assert source.optional_channels == ("T2",) and source.labels == ("background", "label 1", "label 4")
    names = {c.id: ([p and p.name for p in c.images], c.label is None) for c in source.cases}
    assert names == {
        "a": (["a_0000.nii.gz", "a_0001.nii.gz"], False),
        "b": (["b_0000.nii.gz", None], False),
        "c": (["c_0000.nii.gz", "c_0001.nii.gz"], True),
    }
    notes = "\n".join(source.notes)
    assert "1 of 3 cases have no channel T2: b" in notes and "1 of 3 cases have no label map: c" in notes


def test_a_table_gives_patients_classes_and_meta_information(tmp_path, put):
    root = fill(tmp_path / "data", put)
    table = tmp_path / "patients.csv"
    table.write_text("case,patient,Diagnosis,age\na1,a,benign,50\na2,a,benign,50\nb1,b,,61.5\nc1,c,malignant,\n")
    source = read(root, tmp_path, labels=["x"], table=table, classes_from=["diagnosis"])
    of = {c.id: c for c in source.cases}
    assert (of["a1"].patient, of["a1"].classes, of["a1"].meta) == ("a", {"diagnosis": "benign"}, {"age": 50.0})
    assert (of["b1"].classes, of["b1"].meta) == ({}, {"age": 61.5}) and of["c1"].meta == {}
    assert (of["b2"].patient, of["b2"].classes) == (None, {})
    assert of["a1"].split == of["a2"].split  # drawn by patient
    notes = "\n".join(source.notes)
    assert "does not name 1 case(s): b2" in notes and "1 of 4 patients drawn for validation" in notes


ENDINGS = [".seg", ".label", "-label", "_label", "_seg", "-seg", "_mask", "-mask", "_segmentation"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("channels", [["CT"], ["T1", "T2"]])
def test_labels_named_like_their_image_and_more_are_found(tmp_path, put, ending, channels):
    for case in CASES:
        put(tmp_path / "data" / "labels" / f"{case}{ending}.nii.gz", LABEL)
        for number in range(len(channels)):
            suffix = f"_{number:04d}" if len(channels) > 1 else ""
            put(tmp_path / "data" / "images" / f"{case}{suffix}.nii.gz")
    source = read(tmp_path / "data", tmp_path, channels=channels)
    assert [c.id for c in source.cases] == list(CASES) and all(c.label for c in source.cases)
    assert any(f"NAME{ending}" in note for note in source.notes)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_image_that_is_called_so_keeps_its_own_label(tmp_path, put, ending):
    root = fill(tmp_path / "data", put)
    for folder, array in (("images", None), ("labels", LABEL)):
        put(root / folder / f"a1{ending}.nii.gz", *(() if array is None else (array,)))
    source = read(root, tmp_path)
    assert sorted(c.id for c in source.cases) == sorted([*CASES, f"a1{ending}"])
    assert all(c.label.name == c.images[0].name for c in source.cases)
