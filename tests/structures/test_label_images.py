"""Label images."""

import numpy as np

from densekit.structures import label_images


def test_pixels_are_counted_by_class_and_what_is_ignored_is_none(monkeypatch):
    monkeypatch.setattr(label_images, "_PIXELS", 5)
    labels = np.array([[3, 3, 255, 0], [3, 254, 0, 255]], np.uint8).T
    assert label_images.label_counts(labels) == {0: 2, 3: 3, 254: 1}
