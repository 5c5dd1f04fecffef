"""Label images with errors of every kind."""

import numpy as np
import pytest

from densekit.structures.label_images import IGNORED


@pytest.fixture
def label_images():
    """Pairs of truth and prediction: blobs of 6 classes, moved and partly replaced; some pixels ignored."""

    def make(number, classes=6, size=(60, 80), seed=0):
        generator = np.random.default_rng(seed)
        pairs = []
        for _ in range(number):
            coarse = generator.integers(0, classes, (4, 5)).astype(np.uint8)
            truth = np.kron(coarse, np.ones((size[0] // 4, size[1] // 5), np.uint8))
            found = np.roll(truth, (1, 2), (0, 1))
            y, x = generator.integers(0, 30, 2)
            found[y : y + 15, x : x + 25] = generator.integers(classes)
            truth = truth.copy()
            truth[generator.random(truth.shape) < 0.02] = IGNORED
            pairs.append((truth, found))
        return pairs

    return make
