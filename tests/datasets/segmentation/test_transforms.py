"""Transforms in less time give what MMSegmentation's give, with the same draws."""

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS, DefaultScope

GENERATOR = np.random.default_rng(0)


def street(height, width):
    """An image and its labels, in blocks, some of them ignored and some areas of one class only."""
    labels = np.kron(GENERATOR.integers(0, 6, (height // 8 + 1, width // 8 + 1)), np.ones((8, 8)))[:height, :width]
    labels[: height // 2, : width // 2] = 3
    labels[-height // 3 :] = 255
    return {
        "img": GENERATOR.integers(0, 256, (height, width, 3)).astype(np.uint8),
        "gt_seg_map": labels.astype(np.uint8),
        "seg_fields": ["gt_seg_map"],
    }


def both(kind, samples, **arguments):
    """What densekit's and MMSegmentation's transform make of the same samples, and what is drawn after them."""
    found = []
    for library in ("densekit", "mmseg"):
        with DefaultScope.overwrite_default_scope("mmseg"):
            transform = TRANSFORMS.build({"type": f"{library}.{kind}", **arguments})
        np.random.seed(0)
        outputs = [transform({**sample, "img": sample["img"].copy()}) for sample in samples]
        found.append([*outputs, {"next": np.random.random(3)}])
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        {"crop_size": (24, 32), "cat_max_ratio": 0.75},
        {"crop_size": 17, "cat_max_ratio": 0.3, "ignore_index": 3},
        {"crop_size": (200, 20)},
        {"crop_size": (20, 90), "cat_max_ratio": 0.5},
    ],
)
def test_crops_are_those_of_mmsegmentation(arguments):
    sides = [(40, 60), (96, 33), (20, 20), (64, 64)] * 4
    ours, theirs = both("RandomCrop", [street(*side) for side in sides], **arguments)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)


def test_colours_are_those_of_mmsegmentation():
    samples = [street(20, 30) for _ in range(60)]
    for arguments in ({}, {"brightness_delta": 90, "contrast_range": (0.1, 3.0), "hue_delta": 80}):
        ours, theirs = both("PhotoMetricDistortion", samples, **arguments)
        assert all(np.array_equal(one[key], other[key]) for one, other in zip(ours, theirs, strict=True) for key in one)
        changed = [not np.array_equal(one["img"], sample["img"]) for one, sample in zip(ours, samples, strict=False)]
        assert 40 < sum(changed) < 60


def test_colours_of_float_images_are_those_of_mmsegmentation():
    samples = [{"img": street(9, 9)["img"].astype(np.float32)} for _ in range(9)]
    ours, theirs = both("PhotoMetricDistortion", samples)
    assert all(np.array_equal(one[key], other[key]) for one, other in zip(ours, theirs, strict=True) for key in one)
