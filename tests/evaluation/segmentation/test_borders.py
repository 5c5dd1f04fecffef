"""Borders of all classes at once are those of each mask by itself."""

import cv2
import numpy as np

from densekit.evaluation.segmentation.borders import near_border, radius_of
from densekit.structures.label_images import IGNORED


def mask_to_boundary(mask, radius):
    """The boundary of one mask as Cheng et al. 2021 define it: it ends at the edge of the image, too."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inside = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=radius)[1:-1, 1:-1]
    return mask - inside


def test_boundaries_are_those_of_each_mask(label_images):
    for truth, _ in label_images(3):
        labels = np.where(truth == IGNORED, 0, truth).astype(np.uint8)
        for radius in (1, 3):
            near = near_border(labels, radius)
            for label in np.unique(labels):
                mask = (labels == label).astype(np.uint8)
                assert np.array_equal(near & (mask == 1), mask_to_boundary(mask, radius) == 1)


def test_ignored_pixels_make_no_border():
    labels = np.full((19, 40), 3, np.uint8)
    labels[:, 18:22] = IGNORED
    inner = np.s_[9:10, 5:18]
    assert not near_border(labels, 2)[inner].any()
    labels[:, 22:] = 0  # the first class, behind what is ignored
    assert not near_border(labels, 4)[inner].any()
    assert near_border(labels, 5)[inner].ravel().tolist() == [False] * 12 + [True]


def test_a_width_is_a_share_of_the_diagonal():
    assert radius_of((300, 400), 0.02) == 10
    assert radius_of((3, 4), 0.02) == 1
