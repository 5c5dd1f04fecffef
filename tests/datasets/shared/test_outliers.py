"""Which values stand out: by factors, not by differences, and never for a rounding."""

import numpy as np
import pytest

from densekit.datasets.shared.outliers import find_outliers


def test_values_are_judged_from_five_found_ones_on():
    volumes = [100.0, 104.0, 98.0, 101.0]
    assert find_outliers([*volumes, 0.0, None]) == {}
    found = find_outliers([*volumes, 0.0, None, 300.0])
    assert list(found) == [6] and found[6] > 3.5
    assert find_outliers([*volumes, 99.0]) == {}


def test_an_outlier_among_equal_values_is_found_and_a_rounding_is_none():
    assert list(find_outliers([7.0] * 9 + [1.0])) == [9]
    assert find_outliers([7.0] * 9 + [7.1]) == {}


def test_twice_and_half_as_much_are_equally_far():
    values = [100.0, 101.0, 102.0, 99.0, 98.0, 99.0, 101.0, 100.0]
    low, high = find_outliers([*values, 50.0, 200.0]).values()
    assert low == pytest.approx(-high, rel=0.01)
    assert find_outliers([2.0**n for n in range(7)]) == {}  # the largest is far off by its difference


def test_the_score_is_the_distance_in_standard_deviations_of_the_logarithms():
    logs = [*np.random.default_rng(0).uniform(-1, 1, 4001), 5.0]  # of a uniform distribution, 1.4826 * 0.5 is taken
    found = find_outliers(np.exp(logs).tolist())
    assert found == {4001: pytest.approx(5 / (1.4826 * 0.5), rel=0.03)}
