from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData
from PIL import Image

from densekit.errors import ConfigError
from densekit.tasks.detection import pictures as detection_pictures
from densekit.tasks.detection.pictures import DetectionPictureHook
from densekit.visualization.shared.palette import label_color

NAMES = ["cat", "dog"]


@pytest.fixture
def sample(tmp_path):
    """Write an image of one color, its own, and return a sample with a prediction and objects in it."""

    def make(number, *, objects=1, predicted=1, score=0.9, scale=2.0, masks=False):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (120, 90), color_of(number)).save(path)
        box = torch.tensor([[30.0, 40.0, 90.0, 80.0]])
        sample = BaseDataElement(
            metainfo={"img_path": str(path), "ori_shape": (90, 120), "scale_factor": (scale, scale), "img_id": number}
        )
        sample.gt_instances = InstanceData(bboxes=box.repeat(objects, 1) * scale, labels=torch.zeros(objects).long())
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        sample.pred_instances = InstanceData(
            bboxes=box.repeat(predicted, 1),
            labels=torch.ones(predicted).long(),
            scores=torch.full((predicted,), score),
        )
        if masks:
            sample.gt_instances.masks = [[np.array([60, 80, 180, 80, 180, 160, 60, 160.0])]] * objects
            found = torch.zeros(predicted, 90, 120, dtype=torch.bool)
            found[:, 40:80, 30:90] = True
            sample.pred_instances.masks = found
        return sample

    return make


def color_of(number):
    return (100, 100, number)


def run(hook, samples, folder, epoch=1, metrics=None):
    for i, sample in enumerate(samples):
        hook.after_val_iter(None, i, None, [sample])
    hook.after_val_epoch(SimpleNamespace(epoch=epoch, work_dir=str(folder)), metrics or {})
    path = folder / "pictures" / f"epoch_{epoch:04d}.png"
    if not path.is_file():
        return None
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def shown(sheet):
    return [number for number in range(20) if (sheet == color_of(number)).all(axis=2).any()]


def test_the_first_images_with_objects_and_one_without_are_shown_every_epoch(sample, tmp_path):
    samples = [sample(i, objects=0 if i in (1, 4) else 1) for i in range(8)]
    hook = DetectionPictureHook(NAMES, images=3)
    assert shown(run(hook, samples, tmp_path)) == [0, 1, 2, 3]
    assert shown(run(hook, samples[::-1], tmp_path, epoch=2, metrics={"AP": 0.5, "AP50": float("nan")})) == [0, 1, 2, 3]


def test_prediction_and_truth_lie_in_the_same_place(sample, tmp_path):
    for masks in (False, True):
        sheet = run(DetectionPictureHook(NAMES), [sample(0, masks=masks)], tmp_path)
        truth, prediction = ((sheet == label_color(label)).all(axis=2) for label in (1, 2))
        lower = slice(sheet.shape[0] // 2, sheet.shape[0] - 70)  # without the names above the boxes, and the legend
        left, right = (np.flatnonzero(found[lower].any(axis=0)) for found in (prediction, truth))
        start = np.flatnonzero((sheet == color_of(0)).all(axis=2).any(axis=0))
        middle = start[np.flatnonzero(np.diff(start) > 5)[0] + 1]  # where the right picture begins
        assert left[0] - start[0] == right[0] - middle
        assert left[-1] - start[0] == right[-1] - middle < 3 * 90  # enlarged three times


def test_predictions_below_the_threshold_are_left_out(sample, tmp_path):
    for score, there in ((0.29, False), (0.31, True)):
        sheet = run(DetectionPictureHook(NAMES, threshold=0.3), [sample(0, score=score)], tmp_path)
        assert bool((sheet == label_color(2)).all(axis=2).any()) is there


def test_predictions_on_an_image_without_objects_are_shown(sample, tmp_path):
    sheet = run(DetectionPictureHook(NAMES), [sample(0, objects=0)], tmp_path)
    assert (sheet == label_color(2)).all(axis=2).any() and not (sheet == label_color(1)).all(axis=2).any()


def test_no_prediction_at_all_is_drawn(sample, tmp_path):
    assert shown(run(DetectionPictureHook(NAMES), [sample(3, predicted=0)], tmp_path)) == [3]


def test_only_the_main_process_draws(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(detection_pictures, "is_main_process", lambda: False)
    assert run(DetectionPictureHook(NAMES), [sample(0)], tmp_path) is None


def test_an_image_that_is_gone_stops_nothing(sample, tmp_path, caplog):
    samples = [sample(0), sample(1)]
    (tmp_path / "0.png").unlink()
    assert shown(run(DetectionPictureHook(NAMES), samples, tmp_path)) == [1]
    assert "0.png" in caplog.text


def test_senseless_arguments_are_refused():
    with pytest.raises(ConfigError, match="images=0"):
        DetectionPictureHook(NAMES, images=0)
    with pytest.raises(ConfigError, match=r"threshold=30"):
        DetectionPictureHook(NAMES, threshold=30)
