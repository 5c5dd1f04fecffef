"""What the network gets is, value by value, what MMDetection's own loading and packing give."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from pycocotools import mask as mask_utils

from densekit.datasets.detection.loading import with_loading
from densekit.datasets.detection.training import coco_dataset

TRANSFORMS = [
    {"type": "Resize", "scale": (90, 70), "keep_ratio": True},
    {"type": "RandomFlip", "prob": 1.0, "direction": "horizontal"},
    {"type": "RandomCrop", "crop_size": (40, 50)},
]


@pytest.fixture
def annotations(tmp_path):
    """One image with an outline of two parts, a run length, and a crowd."""
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), image)
    blob = np.zeros((60, 80), np.uint8, order="F")
    blob[20:50, 30:70] = np.random.default_rng(1).random((30, 40)) > 0.3
    encoded = mask_utils.encode(blob)
    outlines = [[3, 4, 30.5, 6, 22, 40.2], [40, 10, 50, 10, 45.5, 20]]
    masks = [
        ([3, 4, 47, 37], outlines, 0),
        ([30, 20, 40, 30], {"size": [60, 80], "counts": encoded["counts"].decode()}, 0),
        ([50, 5, 20, 20], {"size": [60, 80], "counts": [3000, 200, 1600]}, 1),
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": b, "area": b[2] * b[3], "iscrowd": c, "segmentation": s}
            for n, (b, s, c) in enumerate(masks, start=1)
        ],
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("masks", [False, True])
def test_a_training_sample_is_mmdetections(annotations, masks):
    stock = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": masks},
        *TRANSFORMS,
        {"type": "PackDetInputs"},
    ]
    samples = []
    for pipeline in (with_loading(TRANSFORMS, masks=masks, ranges={}), stock):
        with DefaultScope.overwrite_default_scope("mmdet"):
            dataset = coco_dataset(annotations, annotations.parent, ["thing"], pipeline)
        np.random.seed(5)
        samples.append(dataset[0])
    ours, theirs = samples
    assert ours["inputs"].is_contiguous() and torch.equal(ours["inputs"], theirs["inputs"])
    for part in ("gt_instances", "ignored_instances"):
        found, expected = getattr(ours["data_samples"], part), getattr(theirs["data_samples"], part)
        assert torch.equal(found.bboxes.tensor, expected.bboxes.tensor)
        assert torch.equal(found.labels, expected.labels)
        if masks:
            np.testing.assert_array_equal(found.masks.masks, expected.masks.masks)
    assert len(ours["data_samples"].gt_instances) == 2
    assert ours["data_samples"].metainfo == theirs["data_samples"].metainfo
