import numpy as np
import pytest
from pycocotools import mask as reference

from densekit.datasets.segmentation.classes import ClassList
from densekit.datasets.segmentation.drawing import Canvas, drawn_classes
from densekit.errors import DataError


def test_outlines_cover_what_coco_says_and_later_ones_lie_above():
    polygons = [[1.2, 1.0, 9.7, 2.0, 5.0, 9.4], [3, 3, 8, 3, 8, 8, 3, 8]]
    canvas = Canvas(12, 10)
    for value, polygon in enumerate(polygons, start=1):
        canvas.outline(value, [polygon])
    first, second = (reference.decode(reference.frPyObjects([p], 10, 12))[..., 0] for p in polygons)
    np.testing.assert_array_equal(canvas.values, np.where(second, 2, first))
    assert canvas.overlaps


def test_a_mask_over_the_border_is_cut():
    canvas = Canvas(4, 3)
    canvas.paint(7, np.ones((3, 3), bool), left=-1, top=2)
    assert canvas.values.tolist() == [[0] * 4, [0] * 4, [7, 7, 0, 0]] and not canvas.overlaps


def test_rings_have_holes():
    canvas = Canvas(7, 7)
    square = np.array([(0, 0), (6, 0), (6, 6), (0, 6)])
    canvas.rings(1, [square, np.array([(2, 2), (4, 2), (4, 4), (2, 4)])])
    assert canvas.values[3, 3] == 0 and canvas.values[0, 0] == canvas.values[6, 6] == canvas.values[3, 1] == 1


def test_run_lengths_of_another_size_are_refused():
    with pytest.raises(DataError, match="a mask of 2 x 3 in an image of 4 x 4"):
        Canvas(4, 4).outline(1, {"size": [3, 2], "counts": [6]})


def test_a_background_that_is_named_is_what_nobody_drew():
    classes, values = drawn_classes(ClassList(("cell", "_background_")))
    assert classes.names == ("_background_", "cell") and classes.values == (0, 1)
    assert values["_background_"] == 0 and values["cell"] == 1 and values["ignore"] == 255
