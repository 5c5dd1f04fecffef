"""What a checkpoint was trained on is known again, whatever split, name or folder it has by then."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from densekit import progress
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.datasets.volume.store import write_store
from densekit.package.seen import changed, image_hashes, leak, look_alikes, looks, pack, trained_on
from densekit.tasks import test as score
from densekit.tasks import train

from ..volume_runs import SHORT, config, make_case, messages, no_curves, prepared, short_run  # noqa: F401

SEEN = frozenset({"a", "b", "c"})


def test_cases_that_were_trained_on_are_named():
    (line,) = leak(SEEN, {"one": "a", "two": "x", "three": "c"}, "test", "best.pth")
    assert line.startswith("2 of the 3 cases of test were trained on by best.pth (one, three)")
    assert leak(SEEN, {"two": "x"}, "test", "best.pth") == []
    assert leak(frozenset(), {"one": "a"}, "test", "best.pth") == []


def test_many_images_are_not_read_in_silence(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "FIRST", 0)
    caplog.set_level("INFO", logger="densekit")
    image_hashes(["a.png", "b.png"], tmp_path)
    for name in ("a.png", "b.png"):
        Image.linear_gradient("L").save(tmp_path / name)
    looks(["a.png", "b.png"], tmp_path)
    told = [message.partition(" (")[0] for message in caplog.messages]
    assert told == ["1 of 2 images hashed", "1 of 2 images noted by their looks"]


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


def scene(seed):
    """Blotches, as of a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


AGAIN = {
    "jpeg of another quality.jpg": lambda image, path: image.save(path, quality=30),
    "png.png": lambda image, path: image.save(path),
    "smaller.jpg": lambda image, path: image.resize((123, 92)).save(path),
    "of another shape.jpg": lambda image, path: image.resize((256, 256)).save(path),
    "larger.png": lambda image, path: image.resize((700, 525)).save(path),
    "grey.png": lambda image, path: image.convert("L").save(path),
    "brighter.png": lambda image, path: image.point(lambda v: min(255, int(v * 1.15))).save(path),
}


@pytest.mark.parametrize("name", AGAIN)
def test_an_image_that_was_saved_anew_looks_like_a_training_image(tmp_path, name):
    for seed in range(8):
        scene(seed).save(tmp_path / f"{seed}.jpg", quality=90)
    AGAIN[name](scene(3), tmp_path / name)
    scene(99).save(tmp_path / "new.jpg")
    Image.new("RGB", (64, 48), (9, 9, 9)).save(tmp_path / "dark.png")  # of one colour: like nothing
    trained = pack(looks([f"{seed}.jpg" for seed in range(8)], tmp_path))
    scored = looks([name, "new.jpg", "dark.png", "gone.png"], tmp_path)
    assert name in scored and "dark.png" not in scored and "gone.png" not in scored
    (line,) = look_alikes(trained, scored, "test", "best.pth")
    assert line.startswith(
        f"1 of the 2 images of test that can be compared look like a training image of best.pth ({name})"
    )


def test_what_is_known_already_or_looks_like_nothing_is_not_said(tmp_path):
    for seed in range(40):
        scene(seed).save(tmp_path / f"{seed}.jpg")
    files = [f"{seed}.jpg" for seed in range(40)]
    assert look_alikes(pack(looks(files[:20], tmp_path)), looks(files[20:], tmp_path), "test", "best.pth") == []
    assert look_alikes("", looks(files, tmp_path), "test", "best.pth") == []
    assert len(pack(looks(files, tmp_path))) == 16 * len(files)


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


def hashes(folder, case_id, image, label, **settings):
    cases = (CaseSource(case_id, (image,), label, "train"),)
    labels = ("background", "near", "far")
    source = SourceDataset("one", "test", ("MR",), labels, cases, normalization="zscore", **settings)
    return list(write_store(source, folder).hashes([case_id]).values())


@pytest.mark.parametrize("name", ["scan.nii", "scan.nrrd", "scan.mha", "short.nii.gz", "long.nii", "float.nii.gz"])
def test_a_scan_is_known_in_another_container_compression_and_type(tmp_path, name):
    image, label = make_case(tmp_path, "case", seed=0)
    volume = sitk.ReadImage(str(image))
    types = {"long": sitk.sitkInt32, "float": sitk.sitkFloat32}
    volume = sitk.Cast(volume, types.get(name.partition(".")[0], sitk.sitkInt16))
    sitk.WriteImage(volume, str(tmp_path / name), True)
    first = hashes(tmp_path / "a", "p1", image, label, spacing=None)
    assert hashes(tmp_path / "b", "p2", tmp_path / name, label, spacing=None) == first


def test_a_scan_is_known_by_another_name_on_another_grid_with_other_labels(tmp_path):
    image, label = make_case(tmp_path, "scan", seed=0)
    other_image, other_label = make_case(tmp_path, "other", seed=1)
    renamed = shutil.copy(image, tmp_path / "renamed.nii.gz")
    first = hashes(tmp_path / "a", "p1", image, label, spacing=None)
    assert hashes(tmp_path / "b", "p2", renamed, other_label, spacing=(3.0, 2.0, 2.0)) == first
    assert hashes(tmp_path / "c", "p1", other_image, label, spacing=None) != first
