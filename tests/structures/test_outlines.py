"""What is around an outline."""

import numpy as np
import pytest

from densekit.ops import run_lengths
from densekit.structures.outlines import extent


def test_extent_of_polygons():
    box, area = extent([[0, 0, 4, 0, 4, 3], [10, 10, 12, 10, 12, 12, 10, 12]])
    assert box.tolist() == [0, 0, 12, 12]
    assert area == 6 + 4
    assert extent([]) is None


def test_extent_of_run_lengths():
    mask = np.zeros((9, 12), bool)
    mask[2:5, 3:10] = True
    box, area = extent(run_lengths.encode(mask[None])[0])
    assert (box.tolist(), area) == ([3, 2, 7, 3], 21)
    with pytest.raises(ValueError, match="add up to 5 pixels, the mask has 2 x 3"):
        extent({"size": [2, 3], "counts": [2, 3]})
