"""Values of unequal length in one array."""

import numpy as np
import pytest

from densekit.structures.packed import Packed, present, take

VALUES = [[[0.1, 2, 1 / 3]], None, {"size": [2, 3], "counts": "ü"}, "a/ü.jpg", "\udcff", None, []]
POLYGONS = [[[0.1, 2.0, 1 / 3], [], [5.0, 1e300]], [[]], [[float("inf"), -0.0, 5e-324]]]


def test_every_value_comes_back_to_the_bit():
    packed = Packed.of(VALUES)
    assert list(packed) == VALUES and packed[-1] == [] and len(packed) == 7
    assert packed[0][0][2].hex() == (1 / 3).hex()
    assert list(packed[1:4]) == VALUES[1:4]
    with pytest.raises(IndexError):
        packed[7]


def test_polygons_come_back_to_the_bit():
    packed = Packed.of(POLYGONS)
    assert [repr(value) for value in packed] == [repr(value) for value in POLYGONS]
    assert all(type(v) is float for polygons in packed for polygon in polygons for v in polygon)
    assert Packed.of([[[4, 5]]])[0] == [[4, 5]]
    assert list(Packed.of([[["a"]], [[None, 1]], [7]])) == [[["a"]], [[None, 1]], [7]]  # lists, but no polygons


def test_rows_are_taken_and_asked_about_like_those_of_a_list():
    packed, places = Packed.of(VALUES), np.array([3, 0, 1])
    assert list(take(packed, places)) == take(VALUES, places) == [VALUES[3], VALUES[0], None]
    assert take(np.arange(5), places).tolist() == [3, 0, 1]
    assert present(packed).tolist() == present(VALUES).tolist() == [True, False, True, True, True, False, True]


def test_no_values():
    assert list(Packed.of([])) == [] and present(Packed.of([])).shape == (0,)


def test_values_beyond_the_bytes_are_refused():
    text = np.frombuffer(b"12", dtype=np.uint8)
    with pytest.raises(ValueError, match="1 values do not lie in 2 bytes"):
        Packed(text, np.array([0]), np.array([3]))
