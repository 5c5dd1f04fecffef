"""Precision against recall by class."""

import math

import pytest

from densekit.errors import ConfigError
from densekit.evaluation.detection import evaluate, pr_curves


@pytest.fixture
def three_cats(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20]), (1, 0, [50, 0, 20, 20]), (1, 0, [100, 0, 20, 20])])
    rows = found(
        (1, 0, [0, 0, 20, 20], 0.9),
        (1, 0, [0, 100, 20, 20], 0.8),
        (1, 0, [50, 4, 20, 20], 0.7),  # IoU 16 / 24
        (1, 0, [150, 100, 20, 20], 0.3),
    )
    return truth, rows


def test_curve_falls_with_the_threshold(three_cats):
    curve = pr_curves(*three_cats)[0.5]["cat"]
    assert curve.objects == 3
    assert curve.score.tolist() == [0.9, 0.8, 0.7, 0.3]
    assert curve.recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4])
    assert curve.interpolated[[0, 33, 34, 66, 67]].tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3, 0])


def test_best_threshold_balances_precision_and_recall(three_cats):
    curves = pr_curves(*three_cats)
    loose, strict = curves[0.5]["cat"], curves[0.75]["cat"]
    assert (loose.threshold, loose.best_precision, loose.best_recall) == (
        0.7,
        pytest.approx(2 / 3),
        pytest.approx(2 / 3),
    )
    assert pytest.approx(2 / 3) == loose.F1
    assert (strict.threshold, strict.best_precision, strict.best_recall) == (0.9, 1, pytest.approx(1 / 3))


def test_detections_of_one_score_are_taken_together(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20])])
    rows = found((1, 0, [0, 0, 20, 20], 0.9), (1, 0, [100, 0, 20, 20], 0.9))
    curve = pr_curves(truth, rows)[0.5]["cat"]
    assert (curve.threshold, curve.best_precision, curve.best_recall) == (0.9, 0.5, 1)


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
@pytest.mark.parametrize("seed", range(6))
def test_area_below_the_curve_is_the_AP(random_set, seed, masks):
    truth, rows = random_set(seed, masks)
    iou_type = "segm" if masks else "bbox"
    scores = evaluate(truth, rows, iou_type=iou_type, max_dets=3)
    curves = pr_curves(truth, rows, iou_type=iou_type, max_dets=3)
    for name, row in scores.per_class.items():
        for iou, key in ((0.5, "AP50"), (0.75, "AP75")):
            assert pytest.approx(row[key], abs=1e-9, nan_ok=True) == curves[iou][name].AP


def test_classes_without_objects_or_hits_have_no_threshold(three_cats, found):
    truth, _ = three_cats
    curves = pr_curves(truth, found((1, 1, [0, 0, 20, 20], 0.9)))[0.5]
    assert math.isnan(curves["dog"].AP) and math.isnan(curves["dog"].threshold)
    assert curves["cat"].AP == 0 and math.isnan(curves["cat"].threshold) and len(curves["cat"].score) == 0


def test_an_overlap_that_cannot_be_asked_for_is_refused(three_cats):
    with pytest.raises(ConfigError, match="50 is not an overlap"):
        pr_curves(*three_cats, ious=(50,))
