"""What is kept of a data set until a file changes."""

import json
import re

import pytest

from densekit.datasets.detection import inspect_detection, prepare_detection
from densekit.errors import OutputError

BOX = [4, 4, 10, 12]


def test_examples_are_three_and_all_are_counted(make):
    root = make.two_splits([(n % 3, 0, [5 + n, 5, 0, 0]) for n in range(7)] + [(0, 0, BOX)], [])
    finding = next(f for f in inspect_detection(root, cache=None).findings if f.code == "box-without-extent")
    assert (finding.count, len(finding.examples)) == (7, 3)


# --- cache --------------------------------------------------------------------------------------------------------
@pytest.fixture
def reads(monkeypatch):
    """Count how often data are really read."""
    import densekit.datasets.detection.inspection as module

    calls, read = [], module.read
    monkeypatch.setattr(module, "read", lambda *a, **k: calls.append(a) or read(*a, **k))
    return calls


def test_the_second_time_nothing_is_read(sound, tmp_path, reads):
    first = inspect_detection(sound, cache=tmp_path / "cache")
    second = inspect_detection(sound, cache=tmp_path / "cache")
    assert (len(reads), first) == (1, second)
    one = prepare_detection(sound, cache=tmp_path / "cache")
    two = prepare_detection(sound, cache=tmp_path / "cache")
    assert (len(reads), one) == (2, two)


def test_findings_survive_the_cache(flawed, tmp_path):
    first = inspect_detection(flawed, cache=tmp_path)
    assert inspect_detection(flawed, cache=tmp_path) == first
    assert first.findings[1].examples[0].boxes


@pytest.mark.parametrize("change", ["annotation", "image", "new image", "input size", "classes"])
def test_a_change_is_noticed(sound, make, tmp_path, reads, change):
    inspect_detection(sound, cache=tmp_path / "cache")
    options = {}
    if change == "annotation":
        make.coco("annotations/instances_val2017.json", ["4.jpg"], [(0, 0, BOX)])
    elif change == "image":
        make.image("val2017/4.jpg", size=(80, 60))
    elif change == "new image":
        make.image("val2017/9.jpg")
    elif change == "input size":
        options["input_size"] = (640, 640)
    else:
        options["classes"] = ["dog", "cat"]
    inspect_detection(sound, cache=tmp_path / "cache", **options)
    assert len(reads) == 2


def test_other_files_in_the_folder_do_not_matter(sound, make, tmp_path, reads):
    inspect_detection(sound, cache=tmp_path / "cache")
    make.text("model.pth", "weights")
    inspect_detection(sound, cache=tmp_path / "cache")
    assert len(reads) == 1


def test_a_damaged_cache_is_made_anew(sound, tmp_path, reads):
    inspect_detection(sound, cache=tmp_path)
    next(tmp_path.rglob("check.json")).write_text("{")
    inspect_detection(sound, cache=tmp_path)
    assert len(reads) == 2


def test_the_cache_is_where_the_system_keeps_caches(sound, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    prepared = prepare_detection(sound)
    assert prepared.annotations["train"].is_relative_to(tmp_path / "xdg" / "densekit")


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
    """A home that nothing can be written to: a file is in its place."""
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def test_a_check_goes_on_without_a_cache(sound, unwritable, reads, caplog):
    first = inspect_detection(sound)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert re.search(r"check.json: cannot be written \(.*XDG_CACHE_HOME .*; the result of .* is not kept$", caplog.text)
    assert inspect_detection(sound) == first == inspect_detection(sound, cache=None)
    assert len(reads) == 3


def test_a_training_says_how_to_have_its_cache_elsewhere(sound, unwritable, caplog):
    with pytest.raises(OutputError, match=r"cannot be written \(.*variable XDG_CACHE_HOME to a folder"):
        prepare_detection(sound)
    assert caplog.text == ""


def test_annotations_that_cannot_be_prepared_are_an_error_too(sound, tmp_path):
    inspect_detection(sound, cache=tmp_path)
    (next(tmp_path.rglob("check.json")).parent / "val.json").mkdir()
    with pytest.raises(OutputError, match=r"val.json: cannot be written, .*variable XDG_CACHE_HOME"):
        prepare_detection(sound, cache=tmp_path)


def test_changed_data_are_written_again(sound, make, tmp_path):
    prepare_detection(sound, cache=tmp_path)
    make.coco("annotations/instances_val2017.json", ["4.jpg"], [(0, 1, BOX)])
    prepared = prepare_detection(sound, cache=tmp_path)
    assert len(json.loads(prepared.annotations["val"].read_text())["images"]) == 1
