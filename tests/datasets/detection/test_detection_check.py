"""The command: a table, a page, JSON, an exit status; and what is kept until a file changes."""

import json
import re

import pytest
from PIL import Image

from densekit.datasets.detection import check_detection, inspect_detection, prepare_detection
from densekit.datasets.detection.check import render
from densekit.datasets.shared.finding import Example, Finding
from densekit.errors import OutputError

BOX = [4, 4, 10, 12]
SEVERITIES = ["error", "warning", "note"]


@pytest.fixture
def flawed(make):
    """One error (an unknown category), two kinds of repair, a class without training images."""
    return make.two_splits(
        [(0, 0, BOX), (1, 0, [60, 40, 10, 10]), (1, 0, [5, 5, 0, 0]), (2, 5, BOX)],
        [(0, 1, BOX)],
        ("cat", "dog"),
    )


@pytest.fixture
def sound(make):
    return make.two_splits([(0, 0, BOX), (1, 1, BOX)], [(0, 0, BOX), (1, 1, BOX)])


def test_table_json_page_and_status(flawed, tmp_path, capsys):
    files = {"html": tmp_path / "out" / "check.html", "json_path": tmp_path / "out" / "check.json"}
    findings, status = check_detection(flawed, cache=None, **files)
    shown = capsys.readouterr().out
    assert status == 2
    assert [finding.severity for finding in findings] == sorted((f.severity for f in findings), key=SEVERITIES.index)
    for words in (
        "COCO JSON: annotations/instances_train2017.json (train)",
        "train       3           1        2",
        "ERROR  annotations have a class that the class list does not have: 1",
        "e.g. annotations/instances_train2017.json: category_id 6, 1 times",
        "->   complete the class list",
        "WARNING  boxes over the border of their image, clipped to it: 1",
        "cannot be trained on as it is; 1 error, ",
    ):
        assert words in shown
    content = json.loads(files["json_path"].read_text())
    assert (content["status"], content["errors"], content["format"]) == (2, 1, "coco")
    assert content["findings"][0]["code"] == "category-unknown"
    page = files["html"].read_text()
    assert "Errors: these stop a training (1)" in page
    assert len(re.findall(r'src="data:image/', page)) >= 5


def test_a_sound_data_set_passes(sound, capsys):
    _, status = check_detection(sound, cache=None)
    assert status == 0
    assert "sound; 0 errors" in capsys.readouterr().out


def test_examples_are_three_and_all_are_counted(make):
    root = make.two_splits([(n % 3, 0, [5 + n, 5, 0, 0]) for n in range(7)] + [(0, 0, BOX)], [])
    finding = next(f for f in inspect_detection(root, cache=None).findings if f.code == "box-without-extent")
    assert (finding.count, len(finding.examples)) == (7, 3)


def test_lines_fit_the_screen(flawed):
    inspection = inspect_detection(flawed, cache=None)
    text = render(inspection, width=70)
    paths = str(flawed)
    assert max(len(line) for line in text.splitlines() if paths not in line) <= 70


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
        make.picture("val2017/4.jpg", size=(80, 60))
    elif change == "new image":
        make.picture("val2017/9.jpg")
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


# --- page ---------------------------------------------------------------------------------------------------------
def test_names_are_escaped_in_the_page(make, tmp_path):
    make.picture("<b>x.jpg")
    make.coco("result.json", ["<b>x.jpg"], [(0, 0, [5, 5, 0, 0]), (0, 0, BOX)], ("<script>alert(1)</script>",))
    check_detection(make.root, cache=None, html=tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text()
    assert "<script>alert" not in page
    assert "<b>x" not in page


def test_crops_show_what_lies_beyond_the_border():
    from densekit.visualization.shared.thumbnails import crop_around

    image = Image.new("RGB", (100, 80), (0, 0, 200))
    whole = crop_around(image, [])
    assert whole.size[0] / whole.size[1] == pytest.approx(100 / 80, rel=0.02)
    for box in ((90, 10, 130, 40), (-30, -20, 5, 5), (400, 400, 420, 420), (50, 50, 50, 50)):
        crop = crop_around(image, [box])
        colors = {color for _, color in crop.getcolors(1 << 20)}
        assert any(red > 150 and blue < 120 for red, _, blue in colors), box


def test_a_finding_of_volumes_needs_no_more_than_before():
    assert Finding("error", "case1", "words") == Finding(severity="error", case="case1", message="words", count=1)
    assert Example("here").boxes == ()
