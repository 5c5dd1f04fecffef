"""Masks that the tests of the scores share."""

import numpy as np
import pytest


@pytest.fixture
def blob():
    """Return a maker of random smooth masks, some cut off by the border of the array."""
    from scipy.ndimage import gaussian_filter

    def make(seed: int, shape: tuple[int, int, int] = (14, 22, 18)) -> np.ndarray:
        noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (1.5, 2.5, 2.5))
        return noise > np.quantile(noise, 0.8)

    return make


@pytest.fixture
def cohort():
    """Return three small cases ``{id: (prediction, reference)}`` of two organs and a third that is never there.

    ``a``: both organs right but for one voxel; ``b``: organ 2 missed; ``c``: organ 2 spurious.
    """
    reference = np.zeros((4, 8, 8), np.uint8)
    reference[1:3, 1:4, 1:4] = 1
    shifted = np.zeros_like(reference)
    shifted[1:3, 1:4, 2:5] = 1
    both, other = reference.copy(), shifted.copy()
    both[1:3, 5:7, 5:7] = 2
    other[1:3, 5:7, 5:7] = 2
    other[1, 5, 5] = 0
    return {"a": (other, both), "b": (reference, both), "c": (both, reference)}
