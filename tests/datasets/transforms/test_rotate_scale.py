"""Rotation and scaling checked on images of which the result is known in closed form: linear ramps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densekit.datasets.transforms import RandLowResolution, RandRotateScale
from densekit.errors import ConfigError

PATCH = (9, 12, 10)


def ramp(shape, gradient, centre_value=5.0):
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    grid = torch.meshgrid(*axes, indexing="ij")
    return (centre_value + sum(g * axis for g, axis in zip(gradient, grid, strict=True)))[None]


def drawn(transform, gradient, seed=0):
    """A ramp of the size that the next draw asks for, transformed with its label (where it is above its centre)."""
    transform.set_random_state(seed=seed)
    margin = transform.draw_margin()
    image = ramp([n + 2 * m for n, m in zip(PATCH, margin, strict=True)], gradient)
    return transform({"inputs": image, "label": (image > 5.0).to(torch.uint8)}), margin


def test_without_a_draw_the_centre_is_cut_out_exactly():
    transform = RandRotateScale(PATCH, rotate_prob=0.0, scale_prob=0.0)
    assert transform.draw_margin() == (0, 0, 0)
    image = torch.rand(2, 15, 16, 10)
    result = transform({"inputs": image})
    assert torch.equal(result["inputs"], image[:, 3:12, 2:14, :])


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_scale_is_the_growth_of_the_field_of_view(factor):
    transform = RandRotateScale(PATCH, rotate_prob=0.0, scale=(factor, factor), scale_prob=1.0)
    result, margin = drawn(transform, (1.0, 0.3, -0.2))
    torch.testing.assert_close(result["inputs"], ramp(PATCH, (factor, 0.3 * factor, -0.2 * factor)), atol=1e-4, rtol=0)
    assert (max(margin) > 0) == (factor > 1)


def test_half_of_the_factors_are_below_one():
    transform = RandRotateScale((3, 3, 3), rotate_prob=0.0, scale=(0.7, 1.4), scale_prob=1.0)
    transform.set_random_state(seed=0)
    factors = []
    for _ in range(400):
        transform.randomize()
        factors.append(transform._matrix[0, 0])
    assert min(factors) == pytest.approx(0.7, abs=0.02)
    assert max(factors) == pytest.approx(1.4, abs=0.02)
    assert 0.42 < np.mean(np.array(factors) < 1) < 0.58


@pytest.mark.parametrize("seed", range(6))
def test_a_rotation_turns_and_keeps_lengths_with_real_context_to_the_corners(seed):
    transform = RandRotateScale(PATCH, rotate_prob=1.0, scale_prob=0.0)
    gradient = (0.6, -0.3, 0.2)
    result, margin = drawn(transform, gradient, seed)
    image = result["inputs"][0]
    slopes = [image.diff(dim=axis) for axis in range(3)]
    for slope in slopes:  # constant everywhere: nothing was filled in
        torch.testing.assert_close(slope, torch.full_like(slope, slope.mean().item()), atol=1e-3, rtol=0)
    turned = np.array([slope.mean().item() for slope in slopes])
    np.testing.assert_allclose(np.linalg.norm(turned), np.linalg.norm(gradient), rtol=1e-3)
    assert np.abs(turned - gradient).max() > 0.02
    assert min(margin) > 0
    torch.testing.assert_close(image.mean(), torch.tensor(5.0), atol=1e-3, rtol=0)


def test_label_moves_with_the_image():
    transform = RandRotateScale(PATCH, rotate_prob=1.0, scale_prob=1.0)
    for seed in range(5):
        result, _ = drawn(transform, (0.5, 0.4, 0.3), seed)
        assert result["label"].dtype == torch.uint8
        sure = (result["inputs"] - 5.0).abs() > 1.2  # nearest neighbour is off by a voxel's diagonal at most
        assert torch.equal(result["label"].bool()[sure], (result["inputs"] > 5.0)[sure])
        assert sure.float().mean() > 0.1


def test_rotation_about_one_axis_keeps_its_slices():
    transform = RandRotateScale(PATCH, degrees=(30, 0, 0), rotate_prob=1.0, scale_axes=(1, 2), scale_prob=1.0)
    for seed in range(4):
        result, margin = drawn(transform, (1.0, 0.0, 0.0), seed)
        torch.testing.assert_close(result["inputs"], ramp(PATCH, (1.0, 0.0, 0.0)), atol=1e-3, rtol=0)
        assert margin[0] <= 1


def test_outside_of_the_window_is_the_minimum_and_background():
    transform = RandRotateScale(PATCH, rotate_prob=0.0, scale=(2.0, 2.0), scale_prob=1.0)
    image = torch.full((1, *PATCH), 3.0)
    image[0, 4, 6, 5] = -2.0
    result = transform({"inputs": image, "label": torch.ones((1, *PATCH), dtype=torch.uint8)})
    assert result["inputs"][0, 0, 0, 0] == -2.0
    assert result["label"][0, 0, 0, 0] == 0
    assert result["label"][0, 4, 6, 5] == 1


def test_both_ways_of_reading_draw_the_same():
    """With a margin given by hand the transform draws by itself; the draw is the same one."""
    asked, alone = (RandRotateScale(PATCH, rotate_prob=1.0) for _ in range(2))
    asked.set_random_state(seed=4)
    margin = asked.draw_margin()
    image = torch.rand((1, *(n + 2 * m for n, m in zip(PATCH, margin, strict=True))))
    alone.set_random_state(seed=4)
    assert torch.equal(asked({"inputs": image})["inputs"], alone({"inputs": image})["inputs"])


def test_bad_arguments():
    with pytest.raises(ConfigError, match="smaller than its patch_size"):
        RandRotateScale((4, 4, 4), rotate_prob=0, scale_prob=0)({"inputs": torch.zeros(1, 4, 3, 4)})
    with pytest.raises(ConfigError, match="range of positive factors"):
        RandRotateScale((4, 4, 4), scale=(1.4, 0.7))
    with pytest.raises(ConfigError, match="three values"):
        RandRotateScale((4, 4))


def test_low_resolution_coarsens_the_axes_it_is_given():
    transform = RandLowResolution(prob=1.0, zoom_range=(0.5, 0.5), axes=(1, 2))
    image = torch.rand(1, 4, 8, 8)
    result = transform({"inputs": image, "label": image})
    assert result["inputs"].shape == image.shape
    assert result["label"] is image
    slope_in_plane = result["inputs"].diff(n=2, dim=2).abs().mean()
    assert slope_in_plane < 0.5 * image.diff(n=2, dim=2).abs().mean()
    only_d = ramp((4, 8, 8), (1.0, 0, 0))
    torch.testing.assert_close(transform({"inputs": only_d})["inputs"], only_d)


def test_low_resolution_without_a_draw_or_without_a_zoom_changes_nothing():
    image = torch.rand(1, 4, 8, 8)
    assert RandLowResolution(prob=0.0)({"inputs": image})["inputs"] is image
    full = RandLowResolution(prob=1.0, zoom_range=(1.0, 1.0))({"inputs": image})["inputs"]
    torch.testing.assert_close(full, image)
    with pytest.raises(ConfigError, match="not a range in"):
        RandLowResolution(prob=0.1, zoom_range=(0.5, 2.0))
