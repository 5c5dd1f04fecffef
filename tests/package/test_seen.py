"""What a checkpoint was trained on is known again, whatever split, name or folder it has by then."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.datasets.volume.store import write_store
from densekit.package.seen import changed, image_hashes, leak, trained_on
from densekit.tasks import test as score
from densekit.tasks import train

from ..volume_runs import SHORT, config, make_case, messages, no_curves, prepared, short_run  # noqa: F401

SEEN = frozenset({"a", "b", "c"})


def test_cases_that_were_trained_on_are_named():
    (line,) = leak(SEEN, {"one": "a", "two": "x", "three": "c"}, "test", "best.pth")
    assert line.startswith("2 of the 3 cases of test were trained on by best.pth (one, three)")
    assert leak(SEEN, {"two": "x"}, "test", "best.pth") == []
    assert leak(frozenset(), {"one": "a"}, "test", "best.pth") == []


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ({"1": "a", "2": "b", "3": "c"}, None),
        ({"1": "a", "2": "b"}, "none is new, 1 are gone"),
        ({"1": "a", "2": "b", "3": "c", "4": "d"}, "1 are new (4), 0 are gone"),
        ({}, None),  # not known
    ],
)
def test_other_training_cases_of_a_run_are_counted(cases, said):
    lines = changed(SEEN, cases, "train")
    assert len(lines) == (said is not None)
    assert said is None or said in lines[0]


def test_an_image_is_known_by_another_name_and_another_by_the_same_name(tmp_path):
    rng = np.random.default_rng(0)
    for folder in "ab":
        (tmp_path / folder).mkdir()
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        Image.fromarray(rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)).save(tmp_path / name)
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "b" / "renamed.png")
    found = image_hashes(["a/1.png", "a/2.png", "b/1.png", "b/renamed.png", "gone.png"], tmp_path)
    assert found["a/1.png"] == found["b/renamed.png"]
    assert len({found[name] for name in ("a/1.png", "a/2.png", "b/1.png")}) == 3
    assert "gone.png" not in found


def test_weights_of_other_programs_say_nothing(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    assert trained_on(tmp_path / "foreign.pth") == frozenset()


@pytest.fixture
def divided_anew(prepared, tmp_path):  # noqa: F811
    """The prepared data set, a training case and a test case in each other's place."""
    folder = shutil.copytree(prepared, tmp_path / "data")
    file = folder / "splits.json"
    content = file.read_text()
    assert "case0" in content and "case6" in content
    text = content.replace("case0", "#").replace("case6", "case0").replace("#", "case6")
    file.write_text(text)
    assert json.loads(text) != json.loads(content)
    return folder


def test_a_test_says_which_cases_were_trained_on(short_run, prepared, divided_anew, caplog, tmp_path):  # noqa: F811
    best = short_run[1] / "best.pth"
    assert len(trained_on(best)) == 4
    score(best, data=prepared, no_surface=True, out=tmp_path / "one")
    assert "were trained on" not in caplog.text
    score(best, data=divided_anew, no_surface=True, out=tmp_path / "two")
    assert "1 of the 2 cases of test were trained on by" in caplog.text


def test_a_resumed_run_says_that_its_cases_are_others(short_run, divided_anew, tmp_path):  # noqa: F811
    folder = shutil.copytree(short_run[1], tmp_path / f"run-{tmp_path.name}")
    train(short_run[0], data=divided_anew, work_dir=folder, resume=True, options=SHORT)
    assert "of the cases of train_split=train 1 are new (case6), 1 are gone" in messages(folder)


def test_a_run_from_weights_says_which_validation_cases_they_know(short_run, divided_anew, tmp_path):  # noqa: F811
    start = {"load_from": short_run[1] / "last.pth", "options": [*SHORT, "max_epochs=1", "val_split=test"]}
    train(short_run[0], data=divided_anew, work_dir=tmp_path / "run", **start)
    assert "1 of the 2 cases of val_split=test were trained on by" in messages(tmp_path / "run")


def test_a_scan_is_known_by_another_name_on_another_grid_with_other_labels(tmp_path):
    def hashes(folder, case_id, image, label, **settings):
        cases = (CaseSource(case_id, (image,), label, "train"),)
        labels = ("background", "near", "far")
        source = SourceDataset("one", "test", ("MR",), labels, cases, normalization="zscore", **settings)
        return list(write_store(source, tmp_path / folder).hashes([case_id]).values())

    image, label = make_case(tmp_path, "scan", seed=0)
    other_image, other_label = make_case(tmp_path, "other", seed=1)
    renamed = shutil.copy(image, tmp_path / "renamed.nii.gz")
    first = hashes("a", "p1", image, label, spacing=None)
    assert hashes("b", "p2", renamed, other_label, spacing=(3.0, 2.0, 2.0)) == first
    assert hashes("c", "p1", other_image, label, spacing=None) != first
