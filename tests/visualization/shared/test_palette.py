import numpy as np
import pytest

from densekit.visualization.shared.palette import OUTLINES, css_color, label_color, outline

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


def ciede2000(points: np.ndarray) -> np.ndarray:
    """Distances between all CIELAB points ``(N, 3)`` (Sharma, Wu, Dalal 2005)."""
    a, b = points[:, 1], points[:, 2]
    chroma = np.hypot(a, b)
    mean = (chroma[:, None] + chroma) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25.0**7)))
    a1, a2 = a[:, None] * stretch, a[None] * stretch
    b1, b2 = np.broadcast_arrays(b[:, None], b[None])
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    middle = np.where(np.abs(h1 - h2) <= 180, (h1 + h2) / 2, (h1 + h2 + 360) / 2 % 360)
    light, c = (points[:, None, 0] + points[None, :, 0]) / 2, (c1 + c2) / 2
    cosines = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    t = 1 + sum(weight * np.cos(np.radians(times * middle + shift)) for weight, times, shift in cosines)
    of_light = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    rotation = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2))))
    x = (points[None, :, 0] - points[:, None, 0]) / of_light
    y, z = (c2 - c1) / (1 + 0.045 * c), hue / (1 + 0.015 * c * t)
    return np.sqrt(x**2 + y**2 + z**2 + rotation * y * z)


def closest(points: np.ndarray) -> float:
    distance = ciede2000(points)
    return float(distance[~np.eye(len(points), dtype=bool)].min())


def test_distance_is_that_of_the_published_test_data():
    """Pairs 1, 7, 16 and 25 of the table of Sharma, Wu, Dalal."""
    pairs = {
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485)): 2.0425,
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0)): 2.3669,
        ((50.0, 2.5, 0.0), (50.0, 3.1736, 0.5854)): 1.0,
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387)): 1.2644,
    }
    for pair, distance in pairs.items():
        assert ciede2000(np.array(pair))[0, 1] == pytest.approx(distance, abs=1e-4)


def test_twelve_structures_are_told_apart_by_every_kind_of_eye():
    """By colour alone in ordinary vision, by colour or outline with one kind of cone missing."""
    first = range(1, 13)
    colors = np.array([label_color(i) for i in first])
    assert closest(lab(colors)) >= 20  # about 2 is just noticeable
    for seen_by in (DEUTERANOPIA, PROTANOPIA):
        for style in OUTLINES[:2]:
            alike = [outline(i) == style for i in first]
            assert sum(alike) >= 4
            assert closest(lab(colors[alike], seen_by)) >= 20
        assert closest(lab(colors, seen_by)) > 12


def test_twentyfour_colors_differ():
    assert closest(lab(np.array([label_color(i) for i in range(1, 25)]))) > 12


def test_outlines_come_in_turns_of_eight():
    assert [outline(i) for i in (0, 1, 8, 9, 16, 17, 24, 25)] == [
        *("solid", "solid", "solid", "dashed", "dashed", "dotted", "dotted", "solid")
    ]


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
