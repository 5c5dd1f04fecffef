"""Preparing a data set: what is on the disk, what is refused, and what happens when it is interrupted."""

from __future__ import annotations

import json
import logging
import pickle
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from densekit.datasets.volume import case as case_module
from densekit.datasets.volume.check import check_prepared
from densekit.datasets.volume.store import open_store, write_store
from densekit.errors import ConfigError, DataError, OutputError
from densekit.io import read_label, read_volume, write_image, write_label

from .conftest import LABELS, grid, scan


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


# --- what is stored


def test_values_geometry_and_description(make_source, tmp_path):
    source = make_source(cases=3)
    store = write_store(source, tmp_path / "out")
    assert (store.name, store.layout, store.channels, store.labels) == ("toy", "folder", ("CT",), LABELS)
    assert store.scored == LABELS[1:]
    assert store.mirror_pairs == (("left kidney", "right kidney"),)
    assert store.convention == "strict"
    assert store.splits == {"train": ["case0", "case1"], "val": ["case2"], "test": []}
    assert store.ids("train+val") == ["case0", "case1", "case2"]

    image, labels = scan(1, (15, 20, 24))
    case = store.case("case1")
    assert case.box == ((1, 15), (2, 20), (0, 24))  # the border of air is gone, nothing else
    assert case.shape_before == (15, 20, 24)
    assert case.spacing == (3.0, 1.0, 1.0)
    np.testing.assert_array_equal(case.image[0], image[1:, 2:])
    np.testing.assert_array_equal(case.label, labels[1:, 2:])
    assert (case.image.dtype, case.label.dtype) == (np.int16, np.uint8)
    assert case.geometry == read_volume(source.cases[1].images[0]).geometry
    assert case.sources == {"images": [str(source.cases[1].images[0])], "label": str(source.cases[1].label)}
    assert case.minimum == [image[1:, 2:].min()]
    assert case.statistics == []  # CT: the same for every scan
    assert case.volumes_ml["liver"] == pytest.approx((labels == 1).sum() * 3.0 / 1000)
    np.testing.assert_array_equal(store.read_reference("case1"), labels)


def test_resampled_store_keeps_extent_and_classes(make_source, tmp_path):
    store = write_store(make_source(cases=1), tmp_path / "out", spacing=(2.0, 2.0, 1.5))
    case = store.case("case0")
    assert case.shape == (round(13 * 3 / 2), round(18 / 2), round(24 / 1.5))
    assert case.image.shape == (1, *case.shape)
    assert store.preprocessing.spacing == case.spacing == (2.0, 2.0, 1.5)
    assert set(np.unique(case.label)) == {0, 1, 2, 3}


def test_foreground_index_points_at_its_labels(make_source, tmp_path, monkeypatch):
    monkeypatch.setattr(case_module, "FOREGROUND_PER_CLASS", 50)
    case = write_store(make_source(cases=1), tmp_path / "out").case("case0")
    rows = case.foreground
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(case.label[tuple(rows[:, 1:].T)], rows[:, 0])
    assert np.unique(rows[:, 0], return_counts=True)[1].tolist() == [50, 50, 50]
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert (np.diff(rows[:, 0]) >= 0).all()


def test_ct_intensities_come_from_the_training_cases_alone(make_source, tmp_path):
    store = write_store(make_source(cases=3), tmp_path / "out")
    pairs = [scan(number, (14 + number, 20, 24)) for number in (0, 1)]
    inside = np.concatenate([image[1:, 2:][labels[1:, 2:] > 0] for image, labels in pairs])
    intensity = store.preprocessing.intensity[0]
    assert intensity["mean"] == pytest.approx(inside.mean())
    assert intensity["std"] == pytest.approx(inside.std())
    assert intensity["lower"] == pytest.approx(np.percentile(inside, 0.5))
    assert intensity["upper"] == pytest.approx(np.percentile(inside, 99.5))
    of_channel = store.fingerprint["intensities"]["channels"]["CT"]
    assert (of_channel["min"], of_channel["max"]) == (inside.min(), inside.max())
    assert store.fingerprint["intensities"]["method"] == "every voxel"


def test_fingerprint_describes_the_data(make_source, tmp_path):
    store = write_store(make_source(cases=3), tmp_path / "out")
    found = store.fingerprint
    assert found == json.loads((tmp_path / "out" / "fingerprint.json").read_text())
    assert found["cases"] == 3
    assert found["source_spacing_mm"]["median"] == [3, 1, 1]
    assert found["source_shape"] == {"min": [14, 20, 24], "median": [15, 20, 24], "max": [16, 20, 24]}
    assert found["classes"]["left kidney"]["cases"] == 3
    volumes = [store.case(f"case{number}").volumes_ml["liver"] for number in range(3)]
    assert found["classes"]["liver"]["volume_ml"]["mean"] == pytest.approx(np.mean(volumes), abs=1e-4)


def test_zscore_statistics_are_of_each_stored_scan(make_source, tmp_path):
    store = write_store(make_source(cases=2, normalization="zscore"), tmp_path / "out")
    assert store.preprocessing.intensity is None
    for number in range(2):
        case = store.case(f"case{number}")
        (mean, std), *rest = case.statistics
        assert not rest
        assert mean == pytest.approx(np.mean(case.image))
        assert std == pytest.approx(np.std(case.image))


def test_channels_are_stacked_and_floats_stay_floats(make_source, tmp_path):
    source = make_source(cases=1)
    pet = tmp_path / "raw" / "pet.nii.gz"
    values = np.random.default_rng(0).random((14, 20, 24)).astype(np.float32)
    write_image(pet, values, grid((14, 20, 24), (3, 1, 1)))
    case = replace(source.cases[0], images=(*source.cases[0].images, pet))
    store = write_store(replace(source, channels=("CT", "PET"), cases=(case,)), tmp_path / "out")
    image = store.case("case0").image
    assert image.dtype == np.float32
    assert image.shape == (2, 14, 20, 24)  # air in the CT alone is no border
    np.testing.assert_array_equal(image[1], values)
    assert store.fingerprint["intensities"]["method"].startswith("a seeded sample")
    assert len(store.preprocessing.intensity) == 2


@pytest.mark.parametrize(
    ("values", "stored"), [((0, 200), np.uint8), ((-5, 30000), np.int16), ((0, 60000), np.uint16), ((0, 900), np.int16)]
)
def test_integers_are_stored_small(make_source, tmp_path, values, stored):
    source = make_source(cases=1)
    image = np.random.default_rng(0).integers(*values, (14, 20, 24))
    smallest = np.uint8 if values == (0, 200) else np.uint16 if values[0] == 0 else np.int16
    write_image(source.cases[0].images[0], image.astype(smallest), grid(image.shape, (3, 1, 1)))
    case = write_store(source, tmp_path / "out", spacing=None).case("case0")
    assert case.image.dtype == stored
    np.testing.assert_array_equal(case.image[0], image)


def test_labels_are_remapped_and_the_reference_too(make_source, tmp_path):
    remap = {0: 0, 1: 2, 2: 1, 3: 0}
    source = make_source(cases=1, labels=("background", "kidney", "liver"), mirror_pairs=(), remap=remap)
    store = write_store(source, tmp_path / "out")
    raw = scan(0, (14, 20, 24))[1]
    expected = np.array([0, 2, 1, 0], np.uint8)[raw]
    np.testing.assert_array_equal(store.case("case0").label, expected[1:, 2:])
    np.testing.assert_array_equal(open_store(tmp_path / "out").read_reference("case0"), expected)


def test_a_scan_without_label_or_class_is_stored_for_test_only(make_source, tmp_path):
    source = make_source(cases=2)
    unlabelled = replace(source.cases[1], label=None, split="test")
    store = write_store(replace(source, cases=(source.cases[0], unlabelled)), tmp_path / "out")
    case = store.case("case1")
    assert case.label is None
    assert len(case.foreground) == 0
    assert store.fingerprint["labelled_cases"] == 1
    with pytest.raises(DataError, match="case case1 has no label to compare with"):
        store.read_reference("case1")
    with pytest.raises(DataError, match="case1: no label, no class and no boxes, so it cannot be in split train"):
        write_store(replace(source, cases=(replace(unlabelled, split="train"),)), tmp_path / "other")


def test_spacing_of_source_override_and_native(make_source, tmp_path):
    source = make_source(cases=2, spacing=(4.0, 1.0, 1.0))
    median = replace(source, spacing="median")
    assert write_store(median, tmp_path / "a").preprocessing.spacing == (4.0, 1.0, 1.0)
    assert write_store(median, tmp_path / "b", spacing=None).preprocessing.spacing is None
    assert write_store(source, tmp_path / "c", spacing="median").preprocessing.spacing == (4.0, 1.0, 1.0)
    assert write_store(source, tmp_path / "d", spacing=(4, 2, 2)).preprocessing.spacing == (4.0, 2.0, 2.0)
    with pytest.raises(ConfigError, match="spacing is 'mean', expected three numbers"):
        write_store(source, tmp_path / "e", spacing="mean")
    with pytest.raises(ConfigError, match="expected three positive numbers"):
        write_store(source, tmp_path / "e", spacing=(1, 1))


def test_median_spacing_is_of_all_cases_but_those_of_test(make_source, tmp_path):
    source = make_source(cases=4)
    for number, spacing in ((0, 2.0), (2, 2.0), (3, 9.0)):
        image, labels = scan(number, (14 + number, 20, 24))
        write_image(source.cases[number].images[0], image, grid(image.shape, (spacing, 1.0, 1.0)))
        geometry = grid(image.shape, (spacing, 1.0, 1.0))
        write_label(source.cases[number].label, labels, geometry, like=None, names=None)
    assert [case.split for case in source.cases] == ["train", "train", "val", "test"]
    assert write_store(source, tmp_path / "out", spacing="median").preprocessing.spacing == (2.0, 1.0, 1.0)


def test_notes_are_kept_and_said_once(make_source, tmp_path, caplog):
    source = make_source(cases=2)
    empty = np.zeros((14, 20, 24), np.uint8)
    write_label(source.cases[0].label, empty, grid(empty.shape, (3, 1, 1)), like=None, names=None)
    with caplog.at_level(logging.WARNING, logger="densekit"):
        store = write_store(replace(source, notes=("a note of the reader",)), tmp_path / "out")
    assert store.case("case0").notes == ("caution: no voxel is labelled",)
    assert "no voxel is labelled (case case0)" in caplog.text
    assert store.notes == ("a note of the reader",)


def test_labels_that_the_prepared_grid_does_not_show_are_noted(make_source, tmp_path):
    source = make_source(cases=1)
    labels = scan(0, (14, 20, 24))[1]
    labels[labels == 2] = 0
    labels[8, 10, 10] = 2  # one voxel, and not the middle one of three
    labels[0, 0, :5] = 1  # in the air that is cropped
    write_label(source.cases[0].label, labels, grid(labels.shape, (3, 1, 1)), like=None, names=None)
    notes = write_store(source, tmp_path / "out", spacing=(3, 3, 3)).case("case0").notes
    assert "caution: 5 labelled voxels lie in the constant border that was cropped" in notes
    assert "caution: too small for the prepared grid, no voxel left: left kidney" in notes


# --- workers, interruption, repetition


def test_the_result_does_not_depend_on_the_number_of_workers(make_source, tmp_path):
    source = make_source(cases=4, normalization="zscore", shape=(20, 30, 40))
    done = {}
    for workers in (1, 2, 3):
        calls = []
        write_store(
            source,
            tmp_path / f"out{workers}",
            spacing=(2, 1.3, 0.9),
            workers=workers,
            progress=lambda *call, calls=calls: calls.append(call),
        )
        assert sorted(call[0] for call in calls) == [f"case{number}" for number in range(4)]
        assert [call[1:3] for call in calls] == [(number, 4) for number in range(1, 5)]
        done[workers] = contents(tmp_path / f"out{workers}")
    assert done[1] == done[2] == done[3]
    with pytest.raises(ConfigError, match="workers is 0"):
        write_store(source, tmp_path / "no", workers=0)


@pytest.mark.parametrize("saves", range(0, 10, 3))
def test_a_killed_run_is_not_mistaken_for_a_finished_one_and_goes_on(make_source, tmp_path, monkeypatch, saves):
    source = make_source(cases=3)
    undisturbed = write_store(source, tmp_path / "whole").path
    out, save, left, lock = tmp_path / "out", np.save, [saves], threading.Lock()

    def save_until_killed(*arguments):
        with lock:
            left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(np, "save", save_until_killed)
    if saves < 9:
        with pytest.raises(KeyboardInterrupt):
            write_store(source, out)
        assert not (out / "dataset.json").exists()
        finished = [folder.name for folder in (out / "cases").iterdir()]
        assert len(finished) == saves // 3
        with pytest.raises(DataError, match="not prepared to the end" if finished else "is not a prepared folder"):
            open_store(out)
    else:
        write_store(source, out)
        finished = ["case0", "case1", "case2"]
    (out / "cases" / ".partial-case2").mkdir()  # what kill -9 leaves
    (out / "cases" / ".partial-case2" / "image.npy").write_bytes(b"half")
    monkeypatch.setattr(np, "save", save)
    seconds = {}
    write_store(source, out, progress=lambda case_id, done, total, took: seconds.update({case_id: took}))
    assert sorted(case_id for case_id, took in seconds.items() if took == 0) == sorted(finished)
    assert contents(out) == contents(undisturbed)


def test_only_what_changed_is_prepared_again(make_source, tmp_path):
    source, out = make_source(cases=3), tmp_path / "out"
    write_store(source, out)

    def remade(**changes) -> list[str]:
        seconds = {}
        write_store(replace(source, **changes), out, progress=lambda i, done, total, took: seconds.update({i: took}))
        return sorted(case_id for case_id, took in seconds.items() if took > 0)

    assert remade() == []
    assert remade(scored=("liver",)) == []  # does not touch the cases
    assert open_store(out).scored == ("liver",)
    image, _ = scan(7, (15, 20, 24))
    write_image(source.cases[1].images[0], image, grid(image.shape, (3, 1, 1)))
    assert remade() == ["case1"]
    assert remade(spacing=(3.0, 2.0, 2.0)) == ["case0", "case1", "case2"]
    (out / "cases" / "case2" / "case.json").write_text("{half")
    with pytest.raises(DataError, match="holds no readable prepared case"):
        open_store(out).case("case2")
    assert remade(spacing=(3.0, 2.0, 2.0)) == ["case2"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values["geometry"]["affine"].__setitem__(1, [1, [2], 3, 4]),
        lambda values: values["geometry"].update(affine="NaN"),
        lambda values: values.update(geometry=None),
        lambda values: values.update(shape=3),
        lambda values: values.update(box=None),
        lambda values: values.update(statistics=[1]),
        lambda values: values.pop("sources"),
        lambda values: values["sources"].update(images=[]),
        lambda values: values["sources"]["images"].__setitem__(0, -1),
        lambda values: values["volumes_ml"].update(liver=None),
        lambda values: [values],
    ],
)
def test_a_damaged_description_is_said_and_made_anew(damage, make_source, tmp_path):
    source, out = make_source(cases=2), tmp_path / "out"
    write_store(source, out)
    path = out / "cases" / "case1" / "case.json"
    sound = path.read_text()
    values = json.loads(sound)
    result = damage(values)
    path.write_text(json.dumps(result if isinstance(result, list) else values))
    with pytest.raises(DataError, match="case1: holds no readable prepared case"):
        open_store(out).case("case1")
    errors = [finding.case for finding in check_prepared(out)[0] if finding.severity == "error"]
    assert errors == ["case1"]  # and the other cases are checked
    write_store(source, out)
    assert json.loads(path.read_text()) == json.loads(sound)


@pytest.mark.parametrize("name", ["image", "label", "foreground"])
@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: data.replace(b"{", b"(", 1), lambda _: b""])
def test_a_damaged_array_is_said_and_made_anew(damage, name, make_source, tmp_path):
    source, out = make_source(cases=1), tmp_path / "out"
    write_store(source, out)
    path = out / "cases" / open_store(out).ids("train+val")[0] / f"{name}.npy"
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    with pytest.raises(DataError, match=f"{name}.npy: cannot be read .*prepare"):
        getattr(open_store(out).case(path.parent.name), name)
    write_store(source, out)
    assert path.read_bytes() == sound


def test_a_damaged_description_of_the_data_set_is_never_a_raw_exception(make_source, tmp_path):
    source, out = make_source(cases=2), tmp_path / "out"
    write_store(source, out)
    path = out / "dataset.json"
    sound = json.loads(path.read_text())
    refused = 0
    for key in sound:
        for value in (None, float("inf"), 10**20, "", "abc", [], {}, [[1]], {"a": None}):
            path.write_text(json.dumps(sound | {key: value}))
            try:
                open_store(out)
            except DataError as error:
                assert "`densekit " in str(error), (key, value)  # what to do
                refused += 1
    assert refused > 40


def test_cases_that_left_the_data_set_leave_the_folder(make_source, tmp_path):
    source, out = make_source(cases=3), tmp_path / "out"
    write_store(source, out)
    (out / "cases" / "notes").mkdir()  # not ours
    store = write_store(replace(source, cases=source.cases[:2]), out)
    assert store.splits["val"] == []
    assert sorted(folder.name for folder in (out / "cases").iterdir()) == ["case0", "case1", "notes"]


def test_a_changed_data_set_is_unfinished_until_it_is_prepared(make_source, tmp_path):
    source, out = make_source(cases=2), tmp_path / "out"
    write_store(source, out)
    source.cases[1].label.write_bytes(b"broken")
    with pytest.raises(DataError):
        write_store(source, out)
    broken = replace(source, cases=(source.cases[0], replace(source.cases[1], label=source.cases[0].label)))
    with pytest.raises(DataError, match="different grids"):
        write_store(broken, out)
    assert open_store(out).splits["train"] == ["case0", "case1"]  # refused by the headers: nothing was touched


# --- what is refused


def test_all_problems_of_all_cases_are_told_together(make_source, tmp_path):
    source, out = make_source(cases=4), tmp_path / "out"
    labels = scan(0, (14, 20, 24))[1]
    labels[5, 5, :7] = 17
    labels[5, 6, :2] = 9
    write_label(source.cases[0].label, labels, grid(labels.shape, (3, 1, 1)), like=None, names=None)
    image = scan(2, (16, 20, 24))[0].astype(np.float32)
    image[3, 3, 3] = np.nan
    write_image(source.cases[2].images[0], image, grid(image.shape, (3, 1, 1)))
    write_image(source.cases[3].images[0], np.full((17, 20, 24), 5, np.int16), grid((17, 20, 24), (3, 1, 1)))
    with pytest.raises(DataError) as error:
        write_store(source, out, workers=2)
    first, *lines = str(error.value).splitlines()
    assert first == "toy: 3 problems; correct these files or take their cases out:"
    assert lines[0].startswith(f"  case case0: {source.cases[0].label}: has label values 9 (2 voxels), 17 (7 voxels)")
    assert "expected 0 background, 1 liver, 2 left kidney, 3 right kidney;" in lines[0]
    assert "case case2" in lines[1] and "1 voxels are NaN" in lines[1]
    assert "case case3" in lines[2] and "is empty, every voxel is 5" in lines[2]
    assert [folder.name for folder in (out / "cases").iterdir()] == ["case1"]
    with pytest.raises(DataError, match="not prepared to the end"):
        open_store(out)


def test_values_that_a_remap_does_not_know_are_refused(make_source, tmp_path):
    source = make_source(cases=1, remap={0: 0, 1: 1, 2: 2})
    with pytest.raises(DataError, match=r"case case0: .*label value 3 \(\d+ voxels\), expected 0 background, 1 liver"):
        write_store(source, tmp_path / "out")
    with pytest.raises(DataError, match=r"remap leads to label values \[9\], but there are 4 classes"):
        write_store(replace(source, remap={0: 0, 1: 9}), tmp_path / "out")


def test_grids_are_compared_before_the_work_begins(make_source, tmp_path):
    source = make_source(cases=3)
    labels = scan(0, (14, 20, 24))[1]
    write_label(source.cases[0].label, labels, grid(labels.shape, (3, 1, 1), origin=7.0), like=None, names=None)
    write_label(source.cases[1].label, labels, grid(labels.shape, (3, 1, 1)), like=None, names=None)
    with pytest.raises(DataError) as error:
        write_store(source, tmp_path / "out")
    _, shifted, shape = str(error.value).splitlines()
    assert f"case case0: {source.cases[0].images[0]} and its label {source.cases[0].label} are on different" in shifted
    assert "shifted by 7 mm" in shifted
    assert "15 x 20 x 24 against 14 x 20 x 24 voxels" in shape
    assert not (tmp_path / "out").exists()


def test_channels_on_different_grids_and_missing_channels(make_source, tmp_path):
    source = make_source(cases=2)
    other = source.cases[1].images[0]  # one slice more
    two = replace(source.cases[0], images=(*source.cases[0].images, other))
    with pytest.raises(DataError, match=r"img0.nii.gz and its image .*img1.nii.gz are on different grids"):
        write_store(replace(source, channels=("CT", "PET"), cases=(two,)), tmp_path / "out")
    with pytest.raises(DataError, match="1 image files, expected one for each of 2: CT, PET"):
        write_store(replace(source, channels=("CT", "PET"), cases=source.cases[:1]), tmp_path / "out")


def test_a_missing_file_is_named(make_source, tmp_path):
    source = make_source(cases=1)
    source.cases[0].label.unlink()
    with pytest.raises(DataError, match=f"case case0: .*{source.cases[0].label.name}"):
        write_store(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cases": ()}, "toy: no cases"),
        ({"scored": ("livr",)}, "'livr' is scored or mirrored, but is not a class; did you mean 'liver'"),
        ({"mirror_pairs": (("left kidney", "right lung"),)}, "'right lung' is scored or mirrored, but is not a class"),
        ({"normalization": "minmax"}, "normalization is 'minmax'"),
    ],
)
def test_descriptions_that_contradict_themselves(make_source, tmp_path, changes, message):
    with pytest.raises((DataError, ConfigError), match=message):
        write_store(replace(make_source(cases=1), **changes), tmp_path / "out")


def test_ids_must_be_unique_folder_names_in_known_splits(make_source, tmp_path):
    source = make_source(cases=1)
    cases = [replace(source.cases[0], id=i) for i in ("a", "a", "../b")] + [
        replace(source.cases[0], id="c", split="dev")
    ]
    with pytest.raises(DataError) as error:
        write_store(replace(source, cases=tuple(cases)), tmp_path / "out")
    text = str(error.value)
    assert "case a: this id occurs 2 times" in text
    assert "case '../b': an id is a name without slashes" in text
    assert "case c: split is 'dev', expected one of train, val, test" in text


def test_ct_without_a_labelled_training_voxel(make_source, tmp_path):
    source = make_source(cases=1)
    empty = np.zeros((14, 20, 24), np.uint8)
    write_label(source.cases[0].label, empty, grid(empty.shape, (3, 1, 1)), like=None, names=None)
    with pytest.raises(DataError, match="no voxel of the 1 training cases is labelled"):
        write_store(source, tmp_path / "out")
    write_store(replace(source, normalization="zscore"), tmp_path / "out")


def test_a_folder_that_cannot_be_written_to(make_source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_store(make_source(cases=1), tmp_path / "file" / "out")

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", disk_full)
    with pytest.raises(OutputError, match=r"case0: cannot be written \(No space left on device\); free some space"):
        write_store(make_source(cases=1), tmp_path / "out")
    assert list((tmp_path / "out" / "cases").iterdir()) == []


# --- opening


def test_a_missing_folder_says_how_to_get_and_prepare_data(tmp_path):
    with pytest.raises(DataError) as error:
        open_store(tmp_path / "synapse")
    text = str(error.value)
    assert f"{tmp_path / 'synapse'}: no such folder" in text
    assert f"densekit prepare KIND RAW {tmp_path / 'synapse'}" in text
    assert "densekit prepare phantom" in text
    assert "\n" not in text
    with pytest.raises(DataError, match="is not a prepared folder"):
        open_store(tmp_path)


def test_damaged_and_foreign_descriptions(make_source, tmp_path):
    out = write_store(make_source(cases=2), tmp_path / "out").path
    description = (out / "dataset.json").read_text()
    (out / "dataset.json").write_text(description[:50])
    with pytest.raises(DataError, match=r"cannot be read .*run `densekit prepare`"):
        open_store(out)
    for other in ('{"modality": {"0": "CT"}}', description.replace('"format": 2', '"format": 1')):
        (out / "dataset.json").write_text(other)
        with pytest.raises(DataError, match=r"not written by this version of densekit.*run `densekit prepare`"):
            open_store(out)
    (out / "dataset.json").write_text(description)
    (out / "cases" / "case1" / "image.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"image.npy: cannot be read .*it remakes the case"):
        _ = open_store(out).case("case1").image
    (out / "cases" / "case1" / "case.json").unlink()
    with pytest.raises(DataError, match=r"1 of its 2 cases are gone \(case1\)"):
        open_store(out)


def test_unknown_case_and_split(make_source, tmp_path):
    store = write_store(make_source(cases=2), tmp_path / "out")
    with pytest.raises(ConfigError, match="no case 'case8'; did you mean 'case"):
        store.case("case8")
    with pytest.raises(
        ConfigError, match=r"no split 'trian'; did you mean 'train'\? \(it has train: 2, val: 0, test: 0\)"
    ):
        store.ids("trian")


def test_arrays_are_memory_maps_and_do_not_travel(make_source, tmp_path):
    store = write_store(make_source(cases=1), tmp_path / "out")
    case = store.case("case0")
    assert isinstance(case.image, np.memmap)
    assert not case.image.flags.writeable
    packed = pickle.dumps(store)
    assert len(packed) < 6000 < case.image.nbytes
    np.testing.assert_array_equal(pickle.loads(packed).case("case0").label, case.label)


def test_raw_files_are_left_as_they_are(make_source, tmp_path):
    source = make_source(cases=2)
    before = contents(tmp_path / "raw")
    write_store(source, tmp_path / "out")
    assert contents(tmp_path / "raw") == before
    assert read_label(source.cases[0].label).array.max() == 3


NAMES = [
    "pat 0.v1.0 ü",
    "pat_0_v1_0_",
    "Ä",
    "患者 1",
    ".hidden",
    "-dash",
    "a;b|c?*",
    "x" * 200,
    "a.b",
    "nul. ",
    "ü",
    "ö",
]


def test_any_printable_name_is_prepared_and_no_two_share_a_folder(make_source, tmp_path):
    source = make_source(len(NAMES))
    cases = tuple(replace(case, id=name) for case, name in zip(source.cases, NAMES, strict=True))
    source = replace(source, cases=cases, folds=())
    store = write_store(source, tmp_path / "out")
    folders = [store.case(name).folder for name in NAMES]
    assert len({str(folder).lower() for folder in folders}) == len(NAMES)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", folder.name) for folder in folders)
    assert [store.case(name).id for name in NAMES] == NAMES
    assert write_store(source, tmp_path / "out").about == store.about and all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "", " ", "a/b", "a\\b"])
def test_names_with_control_characters_and_slashes_are_refused(make_source, tmp_path, name):
    source = make_source(3)
    source = replace(source, cases=(replace(source.cases[0], id=name), *source.cases[1:]))
    with pytest.raises(DataError, match="without slashes and control characters"):
        write_store(source, tmp_path / "out")


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize("spacing", ["median", None])
def test_cases_that_are_only_to_be_scored_are_prepared(make_source, tmp_path, split, spacing):
    source = make_source(cases=2)
    source = replace(source, cases=tuple(replace(case, split=split) for case in source.cases))
    store = write_store(source, tmp_path / "out", spacing=spacing)
    assert store.splits[split] == ["case0", "case1"]
    assert store.read_reference("case0").any()
