"""The metric in MMEngine's evaluation loop: the same numbers as MMSegmentation's, what it keeps and refuses."""

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, PixelData

from densekit.errors import ConfigError, DataError
from densekit.evaluation.segmentation import SegmentationCounts, SegmentationMetric, score_all
from densekit.registry import METRICS

NAMES = ("road", "tree", "car", "sky", "sea", "bird", "never there")


def sample(truth, found, file="a.png"):
    """What a segmentor's val_step gives of an image."""
    element = BaseDataElement(metainfo={"img_path": file})
    if truth is not None:
        element.gt_sem_seg = PixelData(data=torch.from_numpy(truth.astype(np.int64))[None])
    element.pred_sem_seg = PixelData(data=torch.from_numpy(found)[None])
    return element


def evaluated(metric, pairs):
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = {"classes": NAMES}
    for number, (truth, found) in enumerate(pairs):
        evaluator.process([sample(truth, found, f"{number}.png")])
    return evaluator.evaluate(len(pairs))


def test_numbers_are_those_of_mmsegmentation(label_images):
    from mmseg.evaluation import IoUMetric

    pairs = label_images(5)
    ours = METRICS.build({"type": "densekit.SegmentationMetric", "classes": list(NAMES)})
    metrics = evaluated(ours, pairs)
    theirs = IoUMetric()
    theirs.dataset_meta = {"classes": NAMES}
    theirs.process(None, [sample(truth, found).to_dict() for truth, found in pairs])
    areas = [sum(part) for part in zip(*theirs.results, strict=True)]
    each = theirs.total_area_to_metrics(*areas, ["mIoU", "mDice"])
    scores = ours.last_scores
    both = np.diag(scores.confusion)
    there, taken = scores.confusion.sum(axis=1), scores.confusion.sum(axis=0)
    for counted, area in zip((both, there + taken - both, taken, there), areas, strict=True):
        assert np.array_equal(counted, area.numpy())
    for key in ("IoU", "Acc", "Dice"):
        exact = np.array([row[key] for row in scores.per_class.values()])
        assert np.array_equal(exact.astype(np.float32), each[key], equal_nan=True)
    summary = theirs.compute_metrics(theirs.results)
    for key in ("mIoU", "mAcc", "aAcc"):
        assert round(100 * metrics[key], 2) == pytest.approx(summary[key], abs=0.0051)
    assert 0.3 < metrics["mIoU"] < 0.95
    assert np.isnan(scores.per_class["never there"]["IoU"]) and "mIoU/never there" not in metrics


def test_everything_is_kept_in_one_file(label_images, tmp_path):
    metric = SegmentationMetric(NAMES, tmp_path / "run" / "segmentation.npz", keep=2)
    pairs = label_images(6)
    pairs[1] = (pairs[1][0], pairs[1][0].clip(max=5))  # all right
    metrics = evaluated(metric, pairs)
    counts = SegmentationCounts.read(tmp_path / "run" / "segmentation.npz")
    scores = score_all(counts)
    assert {key: getattr(scores, key) for key in ("mIoU", "mAcc", "aAcc", "boundary_IoU")} == {
        key: metrics[key] for key in ("mIoU", "mAcc", "aAcc", "boundary_IoU")
    }
    assert counts.files == tuple(f"{number}.png" for number in range(6))
    worst = np.argsort(-counts.wrong())[:2]
    assert set(counts.predictions) == set(worst.tolist())
    for number in worst:
        assert np.array_equal(counts.prediction(number), pairs[number][1])
    assert metric.results == []  # ready for the next evaluation


def test_an_image_repeated_by_the_sampler_counts_once(label_images):
    pairs = label_images(3)
    metric = SegmentationMetric(NAMES)
    samples = [sample(*pair, f"{number}.png").to_dict() for number, pair in enumerate(pairs)]
    metric.process(None, samples)
    once = metric.evaluate(3)
    metric.process(None, [*samples, samples[0]])
    assert metric.evaluate(4) == once


def test_without_boundaries_the_rest_is_the_same(label_images):
    pairs = label_images(2)
    full, quick = (evaluated(SegmentationMetric(NAMES, boundary=b), pairs) for b in (0.02, None))
    del full["boundary_IoU"]
    assert quick == full


@pytest.mark.parametrize(
    ("truth", "found", "words"),
    [
        (None, np.zeros((4, 4), np.uint8), "has no mask to score it against"),
        (np.zeros((8, 6), np.uint8), np.zeros((4, 3), np.uint8), "predicted as 3 x 4 pixels, its mask has 6 x 8"),
        (np.full((4, 4), 9, np.uint8), np.zeros((4, 4), np.uint8), "its mask has label 9, there are 7 classes"),
        (np.zeros((4, 4), np.uint8), np.full((4, 4), 7, np.uint8), "the model predicts label 7, there are 7 classes"),
        (np.full((4, 4), 300, np.int64), np.zeros((4, 4), np.uint8), "has label 300"),
    ],
)
def test_what_cannot_be_scored_is_named(truth, found, words):
    with pytest.raises(DataError, match=f"^a.png: .*{words}"):
        SegmentationMetric(NAMES).process(None, [sample(truth, found).to_dict()])


def test_settings_that_cannot_be_right_are_refused():
    with pytest.raises(ConfigError, match="boundary=2"):
        SegmentationMetric(NAMES, boundary=2)
    metric = SegmentationMetric(NAMES)
    with pytest.raises(ConfigError, match="other classes than the data set has"):
        metric.dataset_meta = {"classes": ("road", "tree")}
