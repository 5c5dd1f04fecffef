"""Statistics from histograms must be NumPy's from the single values; the spacing rule is nnU-Net's."""

from __future__ import annotations

import numpy as np
import pytest

from densekit.datasets.volume import fingerprint as module
from densekit.datasets.volume.fingerprint import ct_intensity, foreground_histograms, median_spacing, summarize


def test_summary_of_counted_integers_is_numpys():
    rng = np.random.default_rng(0)
    cases = [rng.normal(60, 90, (1, 8, 9, 10)).astype(np.int16) for _ in range(3)]
    labels = [rng.integers(0, 3, case.shape[1:]) for case in cases]
    summary = summarize(foreground_histograms(case, label, [0])[0] for case, label in zip(cases, labels, strict=True))
    values = np.concatenate([case[0][label > 0] for case, label in zip(cases, labels, strict=True)])
    assert summary["voxels"] == values.size
    for name, expected in {
        "mean": values.mean(),
        "std": values.std(),
        "median": np.median(values),
        "min": values.min(),
        "max": values.max(),
        "percentile_00_5": np.percentile(values, 0.5),
        "percentile_99_5": np.percentile(values, 99.5),
    }.items():
        assert summary[name] == pytest.approx(expected, rel=1e-12, abs=1e-9), name
    assert ct_intensity(summary) == {
        "lower": summary["percentile_00_5"],
        "upper": summary["percentile_99_5"],
        "mean": summary["mean"],
        "std": summary["std"],
    }


def test_sampled_floats_stand_for_all_voxels_of_their_case(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_PER_CASE", 500)
    rng = np.random.default_rng(1)
    large, small = rng.normal(10, 1, (1, 20, 20, 20)), rng.normal(0, 1, (1, 5, 5, 5))
    histograms = [foreground_histograms(image, np.ones(image.shape[1:]), [3])[0] for image in (large, small)]
    assert histograms[0][0].size == 500
    again = foreground_histograms(large, np.ones(large.shape[1:]), [3])[0]
    np.testing.assert_array_equal(again[0], histograms[0][0])
    summary = summarize(histograms)
    assert summary["voxels"] == 8125
    assert summary["mean"] == pytest.approx((8000 * 10) / 8125, abs=0.2)
    assert summary["median"] == pytest.approx(10, abs=0.2)


def test_nothing_labelled_gives_none():
    image = np.zeros((2, 3, 3, 3), np.int16)
    histograms = foreground_histograms(image, np.zeros((3, 3, 3)), [0])
    assert [summarize([histogram]) for histogram in histograms] == [None, None]
    assert summarize([]) is None


@pytest.mark.parametrize(
    ("spacings", "expected"),
    [
        ([(1, 1, 1), (2, 1, 1), (3, 2, 1)], (2, 1, 1)),  # plain median
        ([(4, 1, 1)] * 9 + [(2, 1, 1)], (3.8, 1, 1)),  # anisotropic: 10th percentile of D
        ([(5, 0.8, 0.8)] * 5 + [(0.5, 0.8, 0.8)] * 4, (0.8, 0.8, 0.8)),  # but not finer than the others
        ([(3, 1, 1)] * 9 + [(2, 1, 1)], (3, 1, 1)),  # a ratio of exactly 3 is not strong
        ([(1, 1, 5)] * 3, (1, 1, 5)),
    ],
)
def test_target_spacing(spacings, expected):
    assert median_spacing(spacings) == pytest.approx(expected)
