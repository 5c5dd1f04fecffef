"""Boxes: the arrangement of COCO, corners, and pycocotools' overlaps to the bit."""

import numpy as np
from pycocotools import mask as api

from densekit.structures import boxes


def some(number, seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random((number, 2)) * 80, rng.random((number, 2)) * 60], axis=1)


def test_corners_and_back():
    xywh = np.array([[1.5, 2, 10, 20], [0, 0, 1, 1]])
    assert boxes.to_xyxy(xywh).tolist() == [[1.5, 2, 11.5, 22], [0, 0, 1, 1]]
    assert boxes.to_xywh(boxes.to_xyxy(xywh)).tolist() == xywh.tolist()
    assert boxes.to_xyxy(xywh[0]).tolist() == [1.5, 2, 11.5, 22]
    assert boxes.area(xywh).tolist() == [200, 1]


def test_what_a_network_gives_in_float32_comes_back():
    xyxy = np.sort(np.random.default_rng(0).random((1000, 2, 2)) * 1333, axis=1).astype(np.float32).reshape(-1, 4)
    assert (boxes.to_xyxy(boxes.to_xywh(xyxy)) == xyxy).all()


def test_clipping_leaves_nothing_outside():
    clipped = boxes.clip(np.array([[-5.0, 3, 70, 99], [80, 10, 90, 20]]), np.array([64, 48]))
    assert clipped.tolist() == [[0, 3, 64, 48], [64, 10, 64, 20]]


def test_overlaps_are_those_of_pycocotools():
    one, other = some(40, 0), some(30, 1)
    crowd = np.arange(30) % 3 == 0
    ours = boxes.iou(one[:, None], other, crowd)
    assert (ours == api.iou(one, other, crowd.astype(np.uint8))).all()
    assert (boxes.iou(one[:30], other) == boxes.iou(one[:30, None], other).diagonal()).all()


def test_boxes_without_extent_overlap_with_nothing():
    assert boxes.iou(np.array([5.0, 5, 0, 0]), np.array([5.0, 5, 0, 0])) == 0
    assert boxes.iou(np.array([0.0, 0, 5, 5]), np.array([5.0, 0, 5, 5])) == 0  # neighbours
