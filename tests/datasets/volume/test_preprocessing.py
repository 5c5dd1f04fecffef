"""The one path from scan to network input: what it keeps, what it changes, and the way back."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from densekit.datasets.volume.preprocessing import Preprocessing, constant_border
from densekit.errors import ConfigError, DataError

CT = ({"lower": -100.0, "upper": 300.0, "mean": 50.0, "std": 80.0},)


def make(**changes) -> Preprocessing:
    values = {"channels": ("CT",), "spacing": (2.0, 1.0, 1.0), "normalization": "ct", "intensity": CT}
    return Preprocessing(**{**values, **changes})


def test_border_planes_at_the_minimum_are_cropped_and_nothing_else():
    array = np.full((2, 8, 9, 10), -1000, dtype=np.int16)
    array[1] = 7  # another minimum in the other channel
    array[0, 2:5, 3, 4:9] = 40
    array[1, 6, 5, 5] = 8
    assert constant_border(array) == ((2, 7), (3, 6), (4, 9))
    # a value inside that equals the minimum, or a constant border above the minimum, stays
    array[0, 0] = -999
    assert constant_border(array) == ((0, 7), (0, 9), (0, 10))


def test_constant_volume_keeps_its_shape():
    assert constant_border(np.full((1, 3, 4, 5), 12, dtype=np.uint8)) == ((0, 3), (0, 4), (0, 5))
    result = make().spatial(np.zeros((1, 4, 4, 4), np.int16), (2.0, 1.0, 1.0))
    assert result.shape == (4, 4, 4)


def test_labels_come_to_the_grid_of_the_network():
    rng = np.random.default_rng(0)
    array = np.zeros((1, 12, 20, 24), dtype=np.int16)
    array[0, 2:10, 4:16, 3:21] = rng.integers(100, 200, (8, 12, 18))
    labels = np.zeros((12, 20, 24), dtype=np.uint8)
    labels[2:10, 4:16, 3:21] = rng.integers(0, 5, (8, 12, 18))
    # half the spacing along each axis
    result = make(spacing=(1.0, 0.5, 0.5)).spatial(array, (2.0, 1.0, 1.0))
    assert result.box == ((2, 10), (4, 16), (3, 21))
    assert result.shape_before == (12, 20, 24)
    assert result.shape == (16, 24, 36)
    network = result.labels_to_network(labels)
    assert network.shape == (16, 24, 36)
    for corner in itertools.product((0, 1), repeat=3):  # each voxel is eight
        part = network[tuple(slice(first, None, 2) for first in corner)]
        np.testing.assert_array_equal(part, labels[result.region])


def test_resampling_is_scipys_cubic_within_the_range_of_the_scan():
    array = np.random.default_rng(1).normal(0, 100, (1, 10, 12, 14)).astype(np.float32)
    result = make(spacing=(1.6, 1.2, 0.9)).spatial(array, (2.0, 1.0, 1.0))
    assert result.shape == (12, 10, 16)
    zoom = [n / m for n, m in zip(result.shape, (10, 12, 14), strict=True)]
    expected = ndimage.zoom(array[0].astype(np.float64), zoom, order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(result.array[0], expected.clip(array.min(), array.max()), atol=2e-3)


def test_strongly_anisotropic_axis_is_taken_by_nearest_slice():
    array = np.repeat(np.arange(6, dtype=np.float32), 25).reshape(1, 6, 5, 5) * 10 + 10
    array[0, 0, 2, 2] = 0  # else the first plane is a constant border
    result = make(spacing=(3.0, 1.0, 1.0)).spatial(array, (6.0, 1.0, 1.0))
    assert set(result.array[0, :, 0, 0]) == {10, 20, 30, 40, 50, 60}  # no blend of two slices
    blended = make(spacing=(1.5, 1.0, 1.0)).spatial(array, (3.0, 1.0, 1.0))
    assert len(set(blended.array[0, :, 0, 0])) > 6


@pytest.mark.parametrize(
    ("given", "stored"),
    [("int16", "int16"), (">i2", "int16"), ("uint8", "uint8"), ("float64", "float32"), ("bool", "uint8")],
)
def test_dtypes(given, stored):
    array = np.random.default_rng(2).integers(0, 2, (1, 6, 6, 6)).astype(given)
    for spacing in (None, (1.0, 1.0, 1.0)):
        result = make(spacing=spacing).spatial(array, (2.0, 1.0, 1.0))
        assert result.array.dtype == np.dtype(stored)
        assert result.array.flags.c_contiguous


def test_no_spacing_means_the_scans_own_grid():
    array = np.random.default_rng(3).integers(-50, 50, (1, 5, 6, 7)).astype(np.int16)
    np.testing.assert_array_equal(make(spacing=None).spatial(array, (9.0, 1.0, 1.0)).array, array)


def test_ct_normalisation_is_the_same_for_every_scan():
    image = torch.tensor([-1000, 50, 130, 900], dtype=torch.int16).reshape(1, 1, 1, 4)
    expected = torch.tensor([-150 / 80, 0.0, 1.0, 250 / 80]).reshape(1, 1, 1, 4)
    assert make().statistics(image.numpy()) == []
    torch.testing.assert_close(make().normalize(image, []), expected)
    assert image[0, 0, 0, 0] == -1000  # the input is left alone


def test_zscore_uses_the_whole_scan_for_each_part_of_it():
    array = np.random.default_rng(4).normal([[[[300.0]]], [[[5.0]]]], [[[[40.0]]], [[[0.1]]]], (2, 6, 7, 8))
    zscore = make(channels=("T1", "T2"), normalization="zscore", intensity=None)
    statistics = zscore.statistics(array)
    np.testing.assert_allclose(statistics, [(c.mean(), c.std()) for c in array])
    whole = zscore.normalize(torch.from_numpy(array), statistics)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(whole.mean((1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.std((1, 2, 3), unbiased=False), torch.ones(2), atol=1e-4, rtol=0)
    part = zscore.normalize(torch.from_numpy(array)[:, 2:4], statistics)
    torch.testing.assert_close(part, whole[:, 2:4])


def test_constant_scan_is_zero_not_nan():
    zscore = make(normalization="zscore", intensity=None)
    array = np.full((1, 3, 3, 3), 5, np.int16)
    assert (zscore.normalize(torch.from_numpy(array), zscore.statistics(array)) == 0).all()


def test_json_and_back():
    for preprocessing in (make(), make(spacing=None, normalization="zscore", intensity=None)):
        assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization": "CT"}, "normalization is 'CT', expected 'ct' or 'zscore'"),
        ({"spacing": (1.0, 0.0, 1.0)}, "expected three positive numbers"),
        ({"spacing": (1.0, 1.0)}, "expected three positive numbers"),
        ({"intensity": CT * 2}, "intensity describes 2 channels, expected 1"),
        ({"intensity": ({"lower": 0.0},)}, "expected lower, upper, mean, std"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**changes)


def test_wrong_number_of_channels_is_refused_with_their_names():
    with pytest.raises(DataError, match=r"has 1 channels, expected 2 \(CT, PET\)"):
        make(channels=("CT", "PET"), intensity=None).spatial(np.zeros((1, 2, 2, 2)), (1, 1, 1))
    with pytest.raises(ConfigError, match="needs intensity of each, got None"):
        make(intensity=None).normalize(torch.zeros(1, 2, 2, 2), [])
    with pytest.raises(ConfigError, match=r"has the keys .* expected channels, spacing"):
        Preprocessing.from_dict({"channels": ["CT"]})
