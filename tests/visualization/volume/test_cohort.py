import pytest

from densekit.visualization.volume.cohort import summarize


def test_a_structure_that_was_not_found_is_counted_and_not_averaged():
    summary = summarize([10.0, 0.0, 14.0, 18.0])
    assert (summary.found, summary.cases) == (3, 4)
    assert (summary.mean, summary.sd, summary.median) == (14.0, pytest.approx(4.0), 14.0)
    assert (summary.minimum, summary.maximum) == (10.0, 18.0)


def test_one_case_has_no_standard_deviation_and_none_has_nothing():
    assert summarize([3.0]).sd is None
    assert summarize([0.0, 0.0]).mean is None
