"""Scores from counted pixels: definitions, classes that are not there, intervals."""

import math

import numpy as np
import pytest

from densekit.evaluation.segmentation import KINDS, SegmentationCounts, count_image, score_all

NAMES = ["road", "tree", "car"]


def counted(pairs, names=NAMES):
    return SegmentationCounts.join(
        names, [(f"{n}.png", count_image(*pair, len(names))) for n, pair in enumerate(pairs)]
    )


def test_scores_are_over_all_images_together():
    truth = np.array([[0, 0, 0, 1]], np.uint8)
    scores = score_all(counted([(truth, np.array([[0, 0, 1, 1]], np.uint8)), (truth, np.zeros_like(truth))]))
    road, tree, car = scores.per_class.values()
    assert road["IoU"] == pytest.approx(5 / 7) and tree["IoU"] == pytest.approx(1 / 3)
    assert road["Acc"] == pytest.approx(5 / 6) and tree["Acc"] == pytest.approx(1 / 2)
    assert road["Dice"] == pytest.approx(10 / 12) and tree["Precision"] == pytest.approx(1 / 2)
    assert (scores.mIoU, scores.aAcc) == (pytest.approx((5 / 7 + 1 / 3) / 2), pytest.approx(6 / 8))
    assert math.isnan(car["IoU"]) and (car["pixels"], car["images"]) == (0, 0)
    assert scores.confusion.tolist() == [[5, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_a_class_that_is_only_found_has_iou_0_and_no_accuracy():
    truth = np.zeros((2, 2), np.uint8)
    scores = score_all(counted([(truth, np.array([[0, 0], [0, 2]], np.uint8))]))
    assert scores.per_class["car"]["IoU"] == 0 and math.isnan(scores.per_class["car"]["Acc"])
    assert scores.mIoU == pytest.approx(0.75 / 2) and scores.mAcc == pytest.approx(0.75)


def test_boundary_iou_is_that_of_the_masks_boundaries(label_images):
    from tests.evaluation.segmentation.test_borders import mask_to_boundary

    pairs = [(np.where(truth == 255, 0, truth).astype(np.uint8), found) for truth, found in label_images(3)]
    scores = score_all(counted(pairs, list("abcdef")))
    for label, row in enumerate(scores.per_class.values()):
        edges = [[mask_to_boundary((side == label).astype(np.uint8), 2) == 1 for side in pair] for pair in pairs]
        both, either = (
            sum(int(op(one, other).sum()) for one, other in edges) for op in (np.logical_and, np.logical_or)
        )
        assert row["boundary_IoU"] == pytest.approx(both / either)
    assert scores.boundary_IoU == pytest.approx(np.mean([row["boundary_IoU"] for row in scores.per_class.values()]))


def test_shares_of_the_errors_add_up_to_what_is_wrong(label_images):
    scores = score_all(counted(label_images(4), list("abcdef")))
    assert tuple(scores.errors) == KINDS
    assert sum(scores.errors.values()) == pytest.approx(1 - scores.aAcc)
    for name, row in scores.per_class.items():
        assert sum(scores.errors_per_class[name].values()) == pytest.approx(1 - row["Acc"])


def test_intervals_are_those_of_samples_of_the_images(label_images):
    images = [(f"{n}.png", count_image(*pair, 6)) for n, pair in enumerate(label_images(8))]
    counts = SegmentationCounts.join("abcdef", images)
    scores = score_all(counts, seed=3)
    generator = np.random.default_rng(0)
    samples = [[images[n] for n in generator.integers(0, 8, 8)] for _ in range(400)]
    drawn = [score_all(SegmentationCounts.join("abcdef", sample), resamples=0) for sample in samples]
    for key, values in (
        ("mIoU", [sample.mIoU for sample in drawn]),
        ("IoU/a", [sample.per_class["a"]["IoU"] for sample in drawn]),
    ):
        low, high = scores.intervals[key]
        width = high - low
        assert scores.intervals[key] == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=0.15 * width)
        assert width > 0.01
    assert score_all(counts, seed=3).intervals == scores.intervals


def test_one_image_has_no_interval(label_images):
    assert score_all(counted(label_images(1), list("abcdef"))).intervals == {}


def test_nothing_that_counts_has_no_score():
    empty = np.full((3, 3), 255, np.uint8)
    scores = score_all(counted([(empty, np.zeros_like(empty))] * 3))
    assert math.isnan(scores.mIoU) and math.isnan(scores.aAcc) and scores.intervals == {}
    assert "nothing was scored" in scores.render()


def test_the_table_shows_every_class_and_how_sure_it_is(label_images):
    table = score_all(counted(label_images(3), [*"abcdef", "absent"])).render().splitlines()
    assert table[0].split() == ["class", "pixels", "images", "IoU", "Acc", "Precision", "Dice", "boundary_IoU"]
    assert [line.split()[0] for line in table[1:9]] == ["all", *"abcdef", "absent"]
    assert table[8].split()[1:] == ["0", "0", *"-----"]
    assert any("95 % interval" in line and "over 3 images" in line for line in table)
