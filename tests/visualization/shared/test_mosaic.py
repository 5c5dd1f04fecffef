"""Pictures beside each other and in rows."""

import numpy as np
import pytest
from PIL import Image

from densekit.visualization.shared.mosaic import mosaic, side_by_side

GREY = (90, 90, 90)


def plain(width=100, height=80) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def has(image, color) -> np.ndarray:
    return (np.asarray(image) == color).all(axis=2)


# --- sheets -----------------------------------------------------------------------------------------------------------
def test_two_pictures_stand_beside_each_other():
    sheet = side_by_side(Image.new("RGB", (50, 40), (255, 0, 0)), Image.new("RGB", (50, 40), (0, 255, 0)), ("a", "b"))
    red, green = np.nonzero(has(sheet, (255, 0, 0))), np.nonzero(has(sheet, (0, 255, 0)))
    assert len(red[0]) == len(green[0]) == 50 * 40
    assert red[1].max() < green[1].min() and red[0].min() == green[0].min() > 0


def test_a_mosaic_shows_all_pictures_in_rows():
    colors = [(200, 20 * i, 0) for i in range(5)]
    sheet = mosaic([Image.new("RGB", (60, 90), color) for color in colors], cell=(40, 30), columns=2)
    corners = [np.argwhere(has(sheet, color))[0] for color in colors]
    assert all(has(sheet, color).sum() == 20 * 30 for color in colors)  # as large as fits
    assert corners[0][0] == corners[1][0] < corners[2][0] < corners[4][0]
    assert corners[0][1] == corners[2][1] < corners[1][1]


def test_a_mosaic_of_nothing_or_with_too_few_captions_is_refused():
    with pytest.raises(ValueError, match="one picture or more"):
        mosaic([])
    with pytest.raises(ValueError, match="2 pictures have 1 captions"):
        mosaic([plain(), plain()], [["a"]])
