"""Resampling must be SciPy's zoom, exactly, and say nothing different for slabs, dtypes, views or tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from densekit.ops import resample as module
from densekit.ops.resample import (
    low_resolution_axis,
    nearest_index,
    resample,
    resample_labels,
    resampled_shape,
    zoom_matrix,
)

SHAPES = [((13, 17, 11), (20, 9, 11)), ((40, 6, 7), (71, 12, 3)), ((5, 4, 6), (1, 1, 12)), ((1, 8, 8), (4, 8, 5))]


def scipy_zoom(volume: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    factors = [n_out / n_in for n_in, n_out in zip(volume.shape[1:], shape, strict=True)]
    return np.stack([ndimage.zoom(channel, factors, order=order, mode="nearest", grid_mode=True) for channel in volume])


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("before", "after"), SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_equals_scipy(before, after, order, dtype, tolerance):
    volume = np.random.default_rng(0).uniform(-1, 1, (2, *before)).astype(dtype)
    expected = scipy_zoom(volume.astype(np.float64), after, order)
    for given in (volume, torch.from_numpy(volume)):
        result = resample(given, after, order=order)
        assert type(result) is type(given)
        assert result.dtype == given.dtype
        np.testing.assert_allclose(np.asarray(result), expected, rtol=0, atol=tolerance)


def test_slabs_do_not_show(monkeypatch):
    volume = np.random.default_rng(1).uniform(-1000, 1000, (1, 60, 9, 8))
    whole = scipy_zoom(volume, (47, 12, 5), 3)
    for rows in (1, 5, 64):
        monkeypatch.setattr(module, "_SLAB_ROWS", rows)
        np.testing.assert_allclose(resample(volume, (47, 12, 5)), whole, rtol=0, atol=1e-9)


def test_one_order_per_axis_is_a_separate_resampling():
    volume = np.random.default_rng(2).normal(size=(1, 7, 12, 10))
    in_plane = np.stack([scipy_zoom(plane[None, None], (1, 18, 7), 3)[0, 0] for plane in volume[0]])
    expected = in_plane[nearest_index(7, 15)]
    np.testing.assert_allclose(resample(volume, (15, 18, 7), order=(0, 3, 3))[0], expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.uint16, np.int32, ">i2"])
def test_integers_stay_integers_and_do_not_wrap_around(dtype):
    dtype = np.dtype(dtype)
    info = np.iinfo(dtype)
    volume = np.full((1, 12, 12, 12), info.min, dtype=dtype)
    volume[0, 4:8, 4:8, 4:8] = info.max
    exact = scipy_zoom(volume.astype(np.float64), (19, 19, 19), 3)
    assert exact.max() > info.max  # the spline does overshoot here
    result = resample(volume, (19, 19, 19))
    assert result.dtype == dtype.newbyteorder("=")
    np.testing.assert_allclose(result, np.clip(exact, info.min, info.max), rtol=1e-6, atol=0.51)


def test_clip_keeps_each_channel_in_its_own_range():
    volume = np.zeros((2, 10, 10, 10), dtype=np.float32)
    volume[0, 5:] = 1.0
    volume[1, :, 5:] = -4.0
    free = resample(volume, (17, 17, 17))
    kept = resample(volume, (17, 17, 17), clip=True)
    assert free[0].max() > 1.0
    assert (kept[0].min(), kept[0].max(), kept[1].min(), kept[1].max()) == (0.0, 1.0, -4.0, 0.0)


def test_flipped_and_transposed_views_are_read_as_they_look():
    base = np.random.default_rng(3).integers(-500, 500, (6, 8, 10, 1)).astype(np.int16)
    view = base.transpose(3, 2, 0, 1)[:, ::-1, :, ::-1]
    np.testing.assert_array_equal(resample(view, (7, 9, 5)), resample(np.ascontiguousarray(view), (7, 9, 5)))


def test_same_shape_is_an_exact_copy():
    volume = np.random.default_rng(4).normal(size=(1, 4, 5, 6))
    result = resample(volume, (4, 5, 6))
    np.testing.assert_array_equal(result, volume)
    assert not np.shares_memory(result, volume)


def test_matrix_rows_sum_to_one_and_are_kept():
    matrix = zoom_matrix(17, 31, 3)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)
    assert zoom_matrix(17, 31, 3) is matrix
    with pytest.raises(ValueError, match="read-only"):
        matrix[0, 0] = 1.0


@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_labels_are_scipys_order_zero(before, after):
    labels = np.random.default_rng(5).integers(0, 14, before).astype(np.uint8)
    expected = scipy_zoom(labels[None], after, 0)[0]
    np.testing.assert_array_equal(resample_labels(labels, after), expected)
    np.testing.assert_array_equal(resample_labels(torch.from_numpy(labels), after).numpy(), expected)


def test_labels_come_back_where_they_were_after_upsampling():
    labels = np.random.default_rng(6).integers(0, 300, (2, 6, 7, 8)).astype(np.uint16)
    np.testing.assert_array_equal(resample_labels(resample_labels(labels, (12, 21, 16)), (6, 7, 8)), labels)


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [
        ((5.0, 1.0, 1.0), (5.0, 1.0, 1.0), 0),
        ((1.0, 1.0, 3.5), (1.0, 1.0, 1.0), 2),
        ((3.0, 1.0, 1.0), (3.0, 0.76, 0.76), 0),  # only the target is anisotropic
        ((3.0, 1.0, 1.0), (3.0, 1.0, 1.0), None),  # a ratio of exactly 3 is not
        ((1.25, 1.25, 0.24), (1.0, 1.0, 1.0), None),  # two coarse axes
        ((1.0, 1.0, 1.0), (1.5, 1.5, 1.5), None),
    ],
)
def test_low_resolution_axis_is_nnunets(spacing, target, axis):
    assert low_resolution_axis(spacing, target) == axis


def test_resampled_shape_covers_the_extent():
    assert resampled_shape((100, 512, 512), (5.0, 0.8, 0.8), (3.0, 0.76, 0.76)) == (167, 539, 539)
    assert resampled_shape((1, 4, 4), (1.0, 1.0, 1.0), (9.0, 2.0, 2.0)) == (1, 2, 2)
