"""Pictures of errors have the colour of each kind, and the image below them."""

import numpy as np
from PIL import Image

from densekit.visualization.segmentation.figures import ERROR_COLORS, draw_comparison, draw_errors


def scene():
    truth = np.zeros((120, 160), np.uint8)
    truth[20:50, 20:80] = 1
    truth[90:100, 100:110] = 2
    found = truth.copy()
    found[20:50, 80] = 1
    found[30:40, 40:50] = 2
    found[90:100, 100:110] = 0
    return Image.new("RGB", (160, 120), (200, 100, 50)), truth, found


def test_each_kind_of_error_has_its_colour():
    image, truth, found = scene()
    drawn = np.asarray(draw_errors(image, truth, found))
    assert drawn[35, 45].tolist() == list(ERROR_COLORS["confusion"])
    assert drawn[95, 105].tolist() == list(ERROR_COLORS["missed"])
    assert drawn[25, 80].tolist() == list(ERROR_COLORS["boundary"])
    red, green, blue = drawn[5, 5].tolist()
    assert red == green == blue and 0 < red < 100  # dark grey


def test_errors_are_scaled_with_the_image():
    image, truth, found = scene()
    drawn = np.asarray(draw_errors(image, truth, found, size=(80, 60)))
    assert drawn.shape == (60, 80, 3) and drawn[17, 22].tolist() == list(ERROR_COLORS["confusion"])


def test_truth_prediction_and_errors_stand_beside_each_other():
    image, truth, found = scene()
    sheet = np.asarray(draw_comparison(image, truth, found, ["a", "b", "c"], [(0, 0, 255), (0, 255, 0), (9, 9, 9)]))
    tile = sheet.shape[1] // 3
    reds = (sheet == ERROR_COLORS["confusion"]).all(axis=2)
    assert reds.any() and not reds[:, : 2 * tile].any()
    left, middle = (sheet[:, side : side + tile].astype(int) for side in (0, tile))
    assert np.abs(left - middle).max() > 50  # what was found differs from what is there
