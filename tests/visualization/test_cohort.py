import numpy as np
import pytest

from densekit.visualization.cohort import find_outliers, robust_z, summarize


def test_a_structure_that_was_not_found_is_counted_and_not_averaged():
    summary = summarize([10.0, 0.0, 14.0, 18.0])
    assert (summary.found, summary.cases) == (3, 4)
    assert (summary.mean, summary.sd, summary.median) == (14.0, pytest.approx(4.0), 14.0)
    assert (summary.minimum, summary.maximum) == (10.0, 18.0)


def test_one_case_has_no_standard_deviation_and_none_has_nothing():
    assert summarize([3.0]).sd is None
    assert summarize([0.0, 0.0]).mean is None


def test_robust_z_is_the_distance_from_the_median_in_standard_deviations():
    values = np.random.default_rng(0).normal(100, 10, 4001)
    z = robust_z(values)
    assert z == pytest.approx((values - np.median(values)) / 10, rel=0.05, abs=0.02)
    assert (robust_z([5.0, 5.0, 5.0]) == 0).all()


def test_outliers_are_judged_from_five_found_volumes_on():
    volumes = [100.0, 104.0, 98.0, 101.0]
    assert find_outliers([*volumes, 0.0, None]) == {}
    found = find_outliers([*volumes, 0.0, None, 300.0])
    assert list(found) == [6] and found[6] > 3.5
    assert find_outliers([*volumes, 99.0]) == {}


def test_an_outlier_among_equal_volumes_is_found():
    assert list(find_outliers([7.0] * 9 + [1.0])) == [9]
