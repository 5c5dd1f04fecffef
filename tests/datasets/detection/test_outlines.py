"""Polygons that cross themselves."""

import pytest

from densekit.datasets.detection.outlines import crosses_itself


@pytest.mark.parametrize(
    ("polygon", "crosses"),
    [
        ([0, 0, 4, 0, 4, 4, 0, 4], False),
        ([0, 0, 4, 4, 4, 0, 0, 4], True),
        ([0, 0, 4, 0, 2, 3], False),
        ([0, 0, 4, 0, 4, 4, 4, 4, 0, 4, 0, 0], False),
        ([0, 0, 4, 0, 4, 4, 2, 0, 0, 4], False),
        ([0, 0, 4, 0, 4, 4, 2, -1, 0, 4], True),
    ],
)
def test_crossing(polygon, crosses):
    assert crosses_itself(polygon) is crosses
