import numpy as np
import pytest

from densekit.visualization.shared.palette import css_color, label_color

# Machado, Oliveira, Fernandes 2009: how people without one kind of cone see linear RGB.
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]


def lab(colors: np.ndarray, seen_by=None) -> np.ndarray:
    """CIELAB (D65) of sRGB colours ``(N, 3)``."""
    rgb = np.asarray(colors) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if seen_by is not None:
        linear = np.clip(linear @ np.array(seen_by).T, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def closest(points: np.ndarray) -> float:
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return float(distance[~np.eye(len(points), dtype=bool)].min())


def test_first_labels_are_far_apart_for_every_kind_of_eye():
    colors = np.array([label_color(i) for i in range(1, 25)])
    assert closest(lab(colors)) > 15  # about 2 is just noticeable
    for seen_by in (DEUTERANOPIA, PROTANOPIA):
        assert closest(lab(colors[:8], seen_by)) > 10


def test_colors_stand_out_from_grey_anatomy():
    points = lab(np.array([label_color(i) for i in range(1, 25)]))
    assert np.hypot(points[:, 1], points[:, 2]).min() > 25


def test_background_is_black_and_many_labels_have_valid_different_colors():
    assert label_color(0) == (0, 0, 0)
    colors = [label_color(i) for i in range(1, 73)]
    assert len(set(colors)) == 72
    assert all(0 <= channel <= 255 for color in colors for channel in color)
    assert label_color(200) == label_color(200 + 72)


def test_css_color_is_the_same_color():
    assert css_color(1) == "#{:02x}{:02x}{:02x}".format(*label_color(1))


def test_negative_label_is_refused():
    with pytest.raises(ValueError, match="-1"):
        label_color(-1)
