"""Label images."""

import numpy as np

from densekit.structures import label_images


def test_pixels_are_counted_by_class_and_what_is_ignored_is_none():
    labels = np.array([[3, 3, 255, 0], [3, 254, 0, 255]], np.uint8).T
    assert label_images.label_counts(labels) == {0: 2, 3: 3, 254: 1}


def test_values_are_counted_however_they_lie():
    labels = np.random.default_rng(0).integers(0, 256, (30, 40)).astype(np.uint8)
    for part in (labels, labels[3:20, 5:9], labels.T[::-1], labels[:1, :1], labels[:0]):
        assert np.array_equal(label_images.value_counts(part), np.bincount(part.ravel(), minlength=256))
