import json
import warnings

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from densekit.datasets.shared.augmentation import PRESETS, augmentation
from densekit.errors import ConfigError
from densekit.registry import TRANSFORMS

SIZE = (96, 128)
BOXES = np.array([(8, 8, 48, 40), (60, 20, 120, 90), (30, 60, 42, 72)], dtype=np.float32)


def sample(ellipses=True):
    image = np.full((*SIZE, 3), 120, dtype=np.uint8)
    masks = np.zeros((len(BOXES), *SIZE), dtype=np.uint8)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for mask, (x1, y1, x2, y2) in zip(masks, BOXES, strict=True):  # ellipses or rectangles that fill their boxes
        x, y = (columns + 0.5 - (x1 + x2) / 2) / (x2 - x1), (rows + 0.5 - (y1 + y2) / 2) / (y2 - y1)
        mask[x**2 + y**2 < 0.25 if ellipses else np.maximum(abs(x), abs(y)) < 0.5] = 1
    image[masks.any(axis=0)] = (30, 60, 200)
    return {
        "img": image,
        "img_shape": SIZE,
        "gt_bboxes": HorizontalBoxes(torch.from_numpy(BOXES)),
        "gt_bboxes_labels": np.arange(3),
        "gt_ignore_flags": np.zeros(3, dtype=bool),
        "gt_masks": BitmapMasks(masks, *SIZE),
    }


def draw(name, seed, masks=False):
    (config,) = augmentation(name, masks=masks)
    np.random.seed(seed)
    return TRANSFORMS.build(config)(sample(ellipses=not masks))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_plain_configs_without_deprecated_arguments(name):
    configs = augmentation(name, masks=True)
    assert json.loads(json.dumps(configs)) == configs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TRANSFORMS.build(configs[0])
    configs[0]["transforms"].clear()
    assert augmentation(name, masks=True)[0]["transforms"]  # each call gives new ones


def test_light_changes_colors_and_moves_nothing():
    changed = 0
    for seed in range(30):
        results = draw("light", seed)
        assert (results["gt_bboxes"].tensor.numpy() == BOXES).all()
        difference = np.abs(results["img"].astype(int) - sample()["img"]).mean()
        assert difference < 60
        changed += difference > 0
    assert 15 < changed < 30


def test_strong_moves_objects_and_their_boxes_follow_the_masks():
    moved = 0
    for seed in range(40):
        results = draw("strong", seed, masks=True)
        boxes, masks = results["gt_bboxes"].tensor.numpy(), results["gt_masks"].masks
        assert results["img"].shape == (*SIZE, 3) and masks.shape[1:] == SIZE
        assert len(boxes) == len(masks) == len(results["gt_bboxes_labels"]) == len(results["gt_ignore_flags"])
        assert (boxes >= 0).all() and (boxes <= [128, 96, 128, 96]).all()
        for box, mask in zip(boxes, masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert box == pytest.approx([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], abs=1)
        moved += len(boxes) < 3 or np.abs(boxes - BOXES).max() > 1
    assert 10 < moved < 35


def test_boxes_of_turned_objects_stay_close_without_masks_too():
    for seed in range(40):
        results = draw("strong", seed)
        for box, mask in zip(results["gt_bboxes"].tensor.numpy(), results["gt_masks"].masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert box == pytest.approx([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], abs=3.5)


def test_other_names_are_refused():
    with pytest.raises(ConfigError, match="'lite'; did you mean 'light'"):
        augmentation("lite")
