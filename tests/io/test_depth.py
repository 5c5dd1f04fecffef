"""By which range deep pixels come to 8 bits: the training's, as long as it fits, else the image's own; always said."""

import numpy as np
import pytest

from densekit.errors import DataError
from densekit.io.depth import FLOAT, INTEGER, common_ranges, extent, to_8_bit


@pytest.mark.parametrize(
    ("extents", "ranges"),
    [
        ([], {}),
        ([(INTEGER, 3, 200)], {INTEGER: (0, 255)}),
        ([(INTEGER, 0, 900), (INTEGER, 5, 4000)], {INTEGER: (0, 4095)}),  # one dark image does not make it 10 bits
        ([(INTEGER, 0, 4096)], {INTEGER: (0, 2**14 - 1)}),
        ([(INTEGER, 0, 2**15)], {INTEGER: (0, 65535)}),
        ([(INTEGER, 0, 65536)], {INTEGER: (0, 65536)}),
        ([(INTEGER, -1024, 900), (INTEGER, -1000, 3071)], {INTEGER: (-1024, 3071)}),
        ([(FLOAT, 0.0, 0.9)], {FLOAT: (0, 1.0)}),
        ([(FLOAT, 0.0, 200.0), (FLOAT, 0.0, 0.5)], {FLOAT: (0, 255.0)}),
        ([(FLOAT, 0.0, 2.0)], {FLOAT: (0.0, 2.0)}),  # by 255 it would be black
        ([(FLOAT, 0.0, 0.01)], {FLOAT: (0.0, 0.01)}),
        ([(FLOAT, -0.5, 0.5), (INTEGER, 0, 1000)], {FLOAT: (-0.5, 0.5), INTEGER: (0, 1023)}),
    ],
)
def test_the_range_of_a_data_set(extents, ranges):
    assert common_ranges(extents) == ranges


def values(high, dtype=np.uint16):
    return np.linspace(0, high, 100).astype(dtype).reshape(10, 10)


@pytest.mark.parametrize("high", [4095, 2000, 300])
def test_the_ranges_of_the_training_are_kept_also_for_dark_images(high):
    pixels, note = to_8_bit(values(high), {INTEGER: [0, 4095]})  # a list, as JSON has it
    assert np.array_equal(pixels, values(high) >> 4)
    assert note.startswith("values of 12 bits (0 to 4,095) are brought to 0-255, as in training")


@pytest.mark.parametrize(
    ("high", "ranges", "top", "words"),
    [
        (4095, {INTEGER: (0, 4095)}, 255, "as in training"),
        (5000, {INTEGER: (0, 4095)}, 255, "what lies beyond is cut off"),
        (60000, {INTEGER: (0, 4095)}, 234, "each image's own range: the training had values of 12 bits"),
        (4095, {INTEGER: (0, 65535)}, 15, "a sixteenth of them or less: is it of another depth"),
        (4095, {}, 255, "values of 12 bits (0 to 4,095) are brought to 0-255 by each image's own range: the training "),
        (4095, None, 255, "what the training read is not known"),
        (4095, {FLOAT: (0, 1.0)}, 255, "the training had no such images"),
    ],
)
def test_what_differs_from_the_training_is_said(high, ranges, top, words):
    pixels, note = to_8_bit(values(high), ranges)
    assert pixels.dtype == np.uint8 and (pixels.min(), pixels.max()) == (0, top)
    assert words in note


@pytest.mark.parametrize(("high", "factor"), [(1.0, 255), (255.0, 1)])
def test_floats_of_the_usual_ranges(high, factor):
    pixels, _ = to_8_bit(values(high, np.float32))
    assert np.array_equal(pixels, np.rint(factor * values(high, np.float32)))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("value", [0, 70])
def test_an_image_of_one_value_is_no_error(dtype, value):
    assert np.ptp(to_8_bit(np.full((4, 4), value, dtype))[0]) == 0


def test_large_integers_of_a_narrow_range_keep_their_steps():
    pixels, _ = to_8_bit(values(100, np.int64).astype(np.int32) + 2_000_000_000)
    assert len(np.unique(pixels)) == len(np.unique(values(100, np.int64)))


def test_what_is_no_number_is_counted():
    with pytest.raises(DataError, match="2 of 4 values are NaN or infinite"):
        extent(np.array([1, np.nan, np.inf, 0], np.float32))
