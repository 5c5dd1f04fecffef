import numpy as np

from densekit.visualization.shared.overlay import overlay
from densekit.visualization.shared.palette import label_color


def drawn(label: int) -> np.ndarray:
    """A square of 40 pixels with the label, on black, and 10 pixels of nothing around it."""
    return overlay(np.zeros((60, 60, 3), np.uint8), np.pad(np.full((40, 40), label), 10))


def opaque(label: int) -> np.ndarray:
    return (drawn(label) == label_color(label)).all(axis=-1)


def test_outline_is_two_pixels_wide_and_inside():
    ring = np.zeros((60, 60), bool)
    ring[10:50, 10:50] = True
    ring[12:48, 12:48] = False
    assert np.array_equal(opaque(1), ring)


def test_inside_is_light_and_outside_untouched():
    picture = drawn(1)
    assert not picture[:10].any()
    assert np.array_equal(picture[30, 30], np.round(0.28 * np.array(label_color(1))))


def test_outlines_of_later_labels_have_gaps_on_every_side():
    solid = opaque(1).sum()
    for label in (9, 17):
        edge = opaque(label)
        for side in (edge[10, 10:50], edge[49, 10:50], edge[10:50, 10], edge[10:50, 49]):
            assert 0.3 < side.mean() < 0.7
        assert 0.3 * solid < edge.sum() < 0.7 * solid
    assert not np.array_equal(opaque(9), opaque(17))
