"""Kinds of errors: each wrong pixel is of one."""

import cv2
import numpy as np

from densekit.evaluation.segmentation import KINDS, error_map
from densekit.evaluation.segmentation.borders import radius_of
from densekit.evaluation.segmentation.errors import EDGE
from densekit.structures.label_images import IGNORED

BOUNDARY, CONFUSION, MISSED = (1 + KINDS.index(kind) for kind in ("boundary", "confusion", "missed"))


def street():
    """Class 0 with an area of class 1, 30 x 60, and one of class 2, 6 x 6; borders are 1 pixel wide (diagonal 200)."""
    truth = np.zeros((120, 160), np.uint8)
    truth[20:50, 20:80] = 1
    truth[100:106, 100:106] = 2
    return truth


def test_what_is_right_has_no_kind():
    truth = street()
    assert not error_map(truth, truth).any()


def test_errors_at_borders_and_inside_are_told_apart():
    truth = street()
    found = truth.copy()
    found[20:50, 80] = 1  # one pixel beside the area
    found[30:40, 40:50] = 3  # inside it
    kinds = error_map(truth, found)
    assert (kinds[20:50, 80] == BOUNDARY).all()
    assert (kinds[30:40, 40:50] == CONFUSION).all()
    assert np.array_equal(kinds > 0, truth != found)


def test_a_class_that_is_not_nearby_is_no_error_of_the_boundary():
    truth = street()
    found = truth.copy()
    found[20:50, 79] = 2  # beside the border, but of neither side
    found[20:50, 80] = 3
    assert (error_map(truth, found)[20:50, 79:81] == CONFUSION).all()


def test_an_area_that_is_not_found_is_missed_also_at_its_border():
    truth = street()
    found = truth.copy()
    found[100:106, 100:106] = 0
    found[100, 100:103] = 2  # 3 of 36 pixels are less than a tenth
    kinds = error_map(truth, found)
    assert (kinds[101:106, 100:106] == MISSED).all() and not kinds[100, 100:103].any()
    found[100, 100:104] = 2
    kinds = error_map(truth, found)
    assert not (kinds == MISSED).any() and kinds[105, 105] == BOUNDARY and kinds[103, 103] == CONFUSION


def test_areas_of_a_class_are_judged_one_by_one():
    truth = street()
    truth[70:80, 20:30] = 1
    found = truth.copy()
    found[70:80, 20:30] = 0
    kinds = error_map(truth, found)
    assert (kinds[70:80, 20:30] == MISSED).all() and (kinds > 0).sum() == 100


def test_what_is_ignored_is_no_error():
    truth = street()
    found = np.zeros_like(truth)
    truth[20:50, 20:80] = IGNORED
    assert (error_map(truth, found) > 0).sum() == 36


def test_the_class_found_is_looked_for_class_by_class():
    generator = np.random.default_rng(0)
    truth = cv2.resize(
        generator.integers(0, 20, (13, 17)).astype(np.uint8), (221, 208), interpolation=cv2.INTER_NEAREST
    )
    truth[::7] = IGNORED
    found = np.roll(truth, (9, 5), (0, 1)) % 20
    kinds, wrong = error_map(truth, found), (truth != found) & (truth != IGNORED)
    nearby = np.zeros(truth.shape, bool)
    side = 2 * radius_of(truth.shape, EDGE) + 1
    for label in range(20):
        around = cv2.dilate((truth == label).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        nearby |= around & (found == label)
    assert np.array_equal((kinds == BOUNDARY)[kinds != MISSED], (wrong & nearby)[kinds != MISSED])
    assert ((kinds > 0) == wrong).all() and all((kinds == kind).any() for kind in (BOUNDARY, CONFUSION))
