"""COCO's AP: the numbers of pycocotools, the cases it gets wrong, and the inputs that are refused."""

import copy
import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from densekit.errors import ConfigError, DataError
from densekit.evaluation.detection import evaluate, read_detections, read_truth, score_all, write_detections
from densekit.ops import run_lengths


def numbers(scores):
    """All scores as text: NaN equals NaN there."""
    return repr(asdict(scores))


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
@pytest.mark.parametrize("seed", range(12))
def test_scores_are_those_of_pycocotools(random_set, reference, seed, masks):
    truth, rows = random_set(seed, masks)
    iou_type, max_dets = "segm" if masks else "bbox", (100, 2, 300)[seed % 3]
    expected, by_class = reference(truth, rows, iou_type, max_dets)
    given = copy.deepcopy((truth, rows))
    scores = evaluate(truth, rows, iou_type=iou_type, max_dets=max_dets)
    assert (truth, rows) == given  # nothing is written into what was given
    assert 0 < expected["AP"] < 1
    for key, value in expected.items():
        assert getattr(scores, key) == pytest.approx(value, abs=1e-9, nan_ok=True), key
    assert [row["AP"] for row in scores.per_class.values()] == pytest.approx(by_class, abs=1e-9, nan_ok=True)


def test_object_with_id_zero_counts_like_any_other(coco, found, reference):
    boxes = [[10, 10, 40, 40], [100, 10, 40, 40]]
    truth = coco([1], [(1, 0, box) for box in boxes])
    for number, annotation in enumerate(truth["annotations"]):
        annotation["id"] = number
    rows = found(*((1, 0, box, 0.9) for box in boxes))
    assert reference(truth, rows)[0]["AP"] < 0.6  # what pycocotools makes of it
    assert pytest.approx(1) == evaluate(truth, rows).AP


def test_area_and_iscrowd_may_be_missing(coco, found, rle):
    shape = np.zeros((160, 200), bool)
    shape[10:50, 10:50] = True  # 1600 pixels: medium, although the box is large
    truth = coco([1], [(1, 0, [0, 0, 100, 100]), (1, 1, [100, 100, 20, 20])])
    for annotation in truth["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    truth["annotations"][0]["segmentation"] = rle(shape)
    scores = evaluate(truth, found((1, 0, [0, 0, 100, 100], 0.9), (1, 1, [100, 100, 20, 20], 0.9)))
    assert (scores.AP, scores.AP_small, scores.AP_medium) == pytest.approx((1, 1, 1))
    assert math.isnan(scores.AP_large)


def test_without_detections_the_score_is_zero(coco):
    truth = coco([1, 2], [(1, 0, [0, 0, 10, 10])])
    scores = evaluate(truth, [])
    assert (scores.AP, scores.AP50, scores.AR100) == (0, 0, 0)
    assert scores.per_class["cat"]["AP"] == 0
    assert math.isnan(scores.per_class["dog"]["AP"])  # nothing to find


def test_without_objects_nothing_is_defined(coco, found):
    scores = evaluate(coco([1], []), found((1, 0, [0, 0, 10, 10], 0.9)))
    assert math.isnan(scores.AP) and math.isnan(scores.AP50) and math.isnan(scores.AR100)


def test_recall_is_that_of_the_100_best_even_if_more_count(coco, found, reference):
    truth = coco([1], [(1, 0, [0, 0, 20, 20]), (1, 0, [50, 0, 20, 20])])
    rows = found((1, 0, [0, 0, 20, 20], 0.99), *((1, 0, [100, 100, 20, 20], 0.9 - n / 1000) for n in range(110)))
    rows += found((1, 0, [50, 0, 20, 20], 0.1))
    scores = evaluate(truth, rows, max_dets=300)
    assert scores.AR100 == pytest.approx(0.5, abs=1e-9) == reference(truth, rows, max_dets=300)[0]["AR100"]
    assert pytest.approx((51 + 50 * 2 / 112) / 101, abs=1e-9) == scores.AP50
    assert pytest.approx(51 / 101, abs=1e-9) == evaluate(truth, rows).AP50


def test_classes_are_told_by_name_with_their_objects(coco, found):
    truth = coco([1], [(1, 1, [0, 0, 40, 40]), (1, 0, [50, 50, 40, 40]), (1, 0, [90, 90, 30, 30], {"iscrowd": 1})])
    truth["categories"].reverse()  # labels go by id, not by place in the file
    scores = evaluate(truth, found((1, 1, [0, 0, 40, 40], 0.9)))
    assert list(scores.per_class) == ["cat", "dog"]
    assert scores.per_class["dog"]["AP"] == pytest.approx(1) and scores.per_class["cat"]["AP"] == 0
    assert scores.per_class["cat"]["objects"] == 1  # a crowd is nothing to find


def test_detections_on_a_crowd_are_neither_right_nor_wrong(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20]), (1, 0, [50, 50, 100, 100], {"iscrowd": 1})])
    on_crowd = [(1, 0, [60 + 10 * n, 60, 20, 20], 0.95) for n in range(3)]
    assert pytest.approx(1) == evaluate(truth, found(*on_crowd, (1, 0, [0, 0, 20, 20], 0.5))).AP


def test_files_give_the_same_scores(random_set, tmp_path):
    truth, rows = random_set(3)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert numbers(evaluate(tmp_path / "truth.json", tmp_path / "rows.json")) == numbers(evaluate(truth, rows))


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_written_detections_give_the_same_scores(random_set, tmp_path, masks):
    data, rows = random_set(5, masks)
    found = read_detections(rows, read_truth(data, masks=masks), masks=masks)
    write_detections(tmp_path / "rows.json", found)
    iou_type = "segm" if masks else "bbox"
    again = evaluate(data, tmp_path / "rows.json", iou_type=iou_type)
    assert numbers(again) == numbers(evaluate(data, rows, iou_type=iou_type))
    assert set(json.loads((tmp_path / "rows.json").read_text())[0]) >= {"image_id", "category_id", "bbox", "score"}


def test_run_lengths_may_be_lists_of_numbers(random_set):
    truth, rows = random_set(4, masks=True)
    plain = copy.deepcopy(rows)
    for row in plain:
        rle = row["segmentation"]
        row["segmentation"] = {"size": rle["size"], "counts": run_lengths.lengths(rle).tolist()}
    assert isinstance(plain[0]["segmentation"]["counts"], list)
    as_lists, as_text = (evaluate(truth, given, iou_type="segm") for given in (plain, rows))
    assert numbers(as_lists) == numbers(as_text)


def test_nothing_is_printed(random_set, capfd):
    evaluate(*random_set(1))
    evaluate(*random_set(1, masks=True), iou_type="segm")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def broken(coco, **changes):
    truth = coco([1, 2], [(1, 0, [0, 0, 10, 10]), (2, 1, [5, 5, 10, 10])])
    for key, value in changes.items():
        truth["annotations"][1][key] = value
    return truth


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 9}, r"1 annotations have the image_id 9, which is not among its images"),
        ({"category_id": 7}, r"1 annotations have the category_id 7, which is not among its categories"),
        (
            {"bbox": [1, 2, 3]},
            r"annotation 2 has the bbox \[1, 2, 3\], expected x, y, width and height \(1 like this\)",
        ),
        ({"bbox": [1, 2, 3, float("nan")]}, r"annotation 2 has the bbox \[1, 2, 3, nan\]"),
        (
            {"area": None, "segmentation": {"size": [4, 4], "counts": [1]}},
            "annotation 2 has a segmentation that cannot",
        ),
    ],
)
def test_unsound_annotations_are_refused(coco, changes, message):
    with pytest.raises(DataError, match=message):
        evaluate(broken(coco, **changes), [])


def test_unsound_tables_are_refused(coco):
    with pytest.raises(DataError, match="has no list 'categories'"):
        evaluate({"images": [], "annotations": []}, [])
    with pytest.raises(DataError, match="two image entries have the id 1"):
        evaluate(coco([1, 1], []), [])
    with pytest.raises(DataError, match="2 categories are called 'cat'"):
        evaluate(coco([1], [], ("cat", "cat")), [])
    with pytest.raises(DataError, match=r"1 of 2 annotations have no segmentation \(id 2\)"):
        truth = broken(coco)
        truth["annotations"][0]["segmentation"] = [[0, 0, 10, 0, 10, 10]]
        evaluate(truth, [], iou_type="segm")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 77}, r"1 detections are for images that annotations does not have \(id 77\)"),
        ({"category_id": 3}, r"1 detections have the category_id 3, which annotations does not have; it has 10, 20"),
        ({"score": float("nan")}, r"a detection in image 1 has the score nan, expected a number"),
        ({"score": None}, r"a detection in image 1 has the score None"),
        ({"bbox": None}, r"a detection in image 1 has the bbox None"),
    ],
)
def test_unsound_detections_are_refused_in_one_line(coco, found, changes, message):
    rows = found((1, 0, [0, 0, 10, 10], 0.5), (2, 0, [0, 0, 10, 10], 0.5))
    rows[0] |= changes
    with pytest.raises(DataError, match=message) as caught:
        evaluate(broken(coco), rows)
    assert "\n" not in str(caught.value)


def test_masks_that_cannot_be_scored_are_refused(random_set, rle):
    truth, rows = random_set(2, masks=True)
    with pytest.raises(DataError, match="has no run lengths under 'segmentation'"):
        evaluate(truth, [{**rows[0], "segmentation": None}], iou_type="segm")
    small = {**rows[0], "segmentation": rle(np.ones((80, 100), bool))}
    with pytest.raises(DataError, match="is 200 x 160 pixels, a mask found in it 100 x 80"):
        evaluate(truth, [small], iou_type="segm")


def test_unknown_options_are_refused(coco):
    with pytest.raises(ConfigError, match=r"iou_type='seg' is not known.*did you mean 'segm'"):
        evaluate(coco([1], []), [], iou_type="seg")
    with pytest.raises(ConfigError, match="max_dets=0: expected a whole number from 1"):
        evaluate(coco([1], []), [], max_dets=0)


def test_masks_are_scored_where_every_object_and_every_detection_has_one(random_set):
    truth = read_truth(random_set(5, masks=True)[0])
    found = read_detections(random_set(5, masks=True)[1], truth)
    scores = score_all(truth, found)
    assert list(scores) == ["bbox", "segm"]
    assert numbers(scores["segm"]) == numbers(evaluate(truth, found, iou_type="segm"))
    assert list(score_all(read_truth(random_set(5)[0]), read_detections([], truth))) == ["bbox"]


def test_detections_of_other_images_are_refused(random_set):
    truth, rows = random_set(5)
    found = read_detections(rows, read_truth(truth))
    other = read_truth({**truth, "images": [*truth["images"], {"id": 999, "width": 5, "height": 5}]})
    with pytest.raises(DataError, match="the detections are in other images than annotations has"):
        evaluate(other, found)
