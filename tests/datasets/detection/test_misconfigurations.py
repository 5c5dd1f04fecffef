"""The silent misconfigurations of detection training that lie in the data: each is stopped, or put right and said.

Numbers as in the table of pains: 1 class order, 2 no class names given, 3 a typo, 4 all names unknown, 5 a string for a
list of classes, 6 too few classes, 7 annotation ids from 0, 8 the validation file of another data set.
"""

import json

import pytest

from densekit.datasets.detection import inspect_detection, prepare_detection
from densekit.errors import ConfigError, DataError

BOX, OTHER = [4, 4, 10, 12], [30, 20, 9, 9]


def prepare(make, tmp_path, **options):
    return prepare_detection(make.root, cache=tmp_path / "cache", **options)


def labels(prepared, split):
    """Names of the objects of a split, by the category ids that were written."""
    content = json.loads(prepared.annotations[split].read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert tuple(names.values()) == prepared.classes
    assert list(names) == list(range(1, len(names) + 1))
    return [names[annotation["category_id"]] for annotation in content["annotations"]]


def test_1_class_order_is_never_a_matter_of_position(make, tmp_path):
    make.two_splits([(0, 0, BOX), (0, 1, OTHER)], [(0, 0, BOX)], ("dog", "cat"))
    make.coco("annotations/instances_val2017.json", ["4.jpg"], [(0, 0, BOX)], ("cat", "dog"))
    prepared = prepare(make, tmp_path)
    assert prepared.classes == ("dog", "cat")
    assert labels(prepared, "train") == ["dog", "cat"]
    assert labels(prepared, "val") == ["cat"]
    assert "category-order" in {finding.code for finding in prepared.findings}
    prepared = prepare(make, tmp_path, classes=["cat", "dog"])
    assert labels(prepared, "train") == ["dog", "cat"]
    assert prepared.classes == ("cat", "dog")


def test_2_class_names_come_from_the_data(make, tmp_path):
    make.two_splits([(0, 0, BOX), (0, 1, OTHER)], [(0, 1, BOX)], ("dog", "bird"))
    prepared = prepare(make, tmp_path)
    assert prepared.classes == ("dog", "bird")  # not the first two of COCO
    assert labels(prepared, "val") == ["bird"]


def test_3_two_words_that_differ_by_a_letter_are_two_classes_if_both_are_named(make):
    make.two_splits([(0, 0, BOX), (0, 1, OTHER)], [], ("horse", "widget"))
    make.coco("annotations/instances_val2017.json", ["4.jpg"], [(0, 0, BOX)], ("house", "widget"))
    stopped = inspect_detection(make.root, cache=None)
    assert stopped.status == 2 and any("name them in the key classes" in found.remedy for found in stopped.findings)
    assert inspect_detection(make.root, classes=["horse", "house", "widget"], cache=None).status == 0


@pytest.mark.parametrize(
    ("one", "other"), [("cat", "cats"), ("Platelet", "platelets"), ("red cell", "red_cells"), ("lesion", "leison")]
)
def test_3_a_typo_between_the_splits_stops(make, one, other):
    make.two_splits([(0, 0, BOX), (0, 1, OTHER)], [], (one, "widget"))
    make.coco("annotations/instances_val2017.json", ["4.jpg"], [(0, 0, BOX)], (other, "widget"))
    inspection = inspect_detection(make.root, cache=None)
    finding = next(finding for finding in inspection.findings if finding.code == "class-typo")
    assert inspection.status == 2
    assert repr(one) in finding.examples[0].where
    assert repr(other) in finding.examples[0].where


def test_3_and_4_names_that_are_not_there_stop_with_the_close_ones(make, load):
    make.two_splits([(0, 0, BOX), (0, 1, OTHER)], [])
    with pytest.raises(DataError, match=r"'cats' is not a class .* did you mean 'cat'.*it has cat, dog"):
        load(make.root, classes=["cats", "dog"])
    with pytest.raises(DataError, match="'tree' is not a class"):
        load(make.root, classes=["tree"])


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ("dog", r"one string.*\('dog',\) with the comma"),
        ([], "it is empty"),
        (["dog", "dog"], "there twice"),
        ([3], "3 is not"),
    ],
)
def test_5_a_string_is_no_list_of_classes(make, load, classes, words):
    make.two_splits([(0, 0, BOX)], [])
    with pytest.raises(ConfigError, match=words):
        load(make.root, classes=classes)


def test_6_a_class_number_beyond_the_names_stops(make):
    make.two_splits([(0, 0, BOX), (0, 2, OTHER)], [])
    inspection = inspect_detection(make.root, cache=None)
    assert inspection.status == 2
    with pytest.raises(DataError, match=r"category_id 3.*complete the class list"):
        inspection.require_sound()


def test_7_annotation_id_zero_is_scored_right(make, tmp_path):
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    make.two_splits([(0, 0, BOX)], [(0, 0, BOX, {"id": 0}), (0, 1, OTHER, {"id": 1})])
    prepared = prepare(make, tmp_path)
    assert "annotation-id-zero" in {finding.code for finding in prepared.findings}

    def average_precision(file):
        truth = COCO(file)
        found = [
            {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
            for a in truth.dataset["annotations"]
        ]
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return evaluation.stats[0]

    assert average_precision(make.root / "annotations" / "instances_val2017.json") < 0.9
    assert average_precision(prepared.annotations["val"]) == pytest.approx(1.0)


def test_8_both_splits_are_written_from_one_reading(make, tmp_path):
    make.two_splits([(0, 0, BOX)], [(0, 1, OTHER), (1, 0, BOX)])
    prepared = prepare(make, tmp_path)
    content = json.loads(prepared.annotations["val"].read_text())
    assert {image["file_name"] for image in content["images"]} == {"val2017/4.jpg", "val2017/5.jpg"}
    assert all((prepared.root / image["file_name"]).is_file() for image in content["images"])
    assert prepared.counts["val"] == {"images": 2, "background": 0, "objects": 2}


def test_missing_files_stop_a_training_before_it_begins(make, tmp_path):
    root = make.two_splits([(0, 0, BOX)], [(0, 0, BOX)])
    (root / "train2017" / "2.jpg").unlink()
    with pytest.raises(DataError, match=r"image files named by the annotations are not there: 1, e\.g\. 2\.jpg"):
        prepare(make, tmp_path)
