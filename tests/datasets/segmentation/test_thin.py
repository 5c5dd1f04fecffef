"""What a class loses when images are made smaller."""

import numpy as np
import pytest

from densekit.datasets.segmentation.thin import find_thin, training_scale
from densekit.structures.label_images import IGNORED


def line(width):
    """Labels 0 with a line of label 1, 30 pixels long."""
    labels = np.zeros((40, 40), np.uint8)
    labels[5:35, 10 : 10 + width] = 1
    return labels


@pytest.mark.parametrize(
    ("width", "scale", "is_thin"), [(1, 1, True), (2, 1, False), (3, 0.5, True), (4, 0.5, False), (1, 2, False)]
)
def test_what_is_narrower_than_two_pixels_after_resizing_is_thin(width, scale, is_thin):
    thin = find_thin(line(width), 3, scale)
    assert thin.pixels.tolist() == [0, 30 * width * is_thin, 0]
    assert (thin.objects.tolist(), thin.vanishing.tolist()) == ([1, 1, 0], [0, int(is_thin), 0])
    assert thin.boxes == ({1: (10, 5, 10 + width, 35)} if is_thin else {})


def test_a_thin_part_of_a_wide_object_is_no_object_that_vanishes():
    labels = line(1)
    labels[10:20, 5:20] = 1
    thin = find_thin(labels, 2, 1)
    assert thin.pixels[1] == 20 and thin.vanishing[1] == 0


def test_the_border_of_the_image_makes_nothing_thin_and_ignored_pixels_are_no_object():
    labels = np.full((20, 20), IGNORED, np.uint8)
    labels[:, :10] = 0
    labels[8, 15] = IGNORED
    thin = find_thin(labels, 1, 0.25)
    assert (thin.pixels.tolist(), thin.objects.tolist()) == ([0], [1])


def test_images_are_fitted_into_the_longer_and_the_shorter_side():
    assert training_scale((1024, 1024), (2048, 512)) == 0.5
    assert training_scale((8192, 1024), (2048, 512)) == 0.25
    assert training_scale((100, 200), (512, 2048)) == 5.12
