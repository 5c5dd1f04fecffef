"""Images with a class for each pixel."""

import numpy as np
import pytest
from PIL import Image

from densekit.structures.label_images import IGNORED, label_counts
from densekit.visualization.segmentation import drawing
from densekit.visualization.segmentation.drawing import draw_segmentation, shares, with_legend

NAMES = [f"class {i}" for i in range(150)]


def test_areas_take_their_colours_and_what_is_ignored_stays():
    labels = np.full((40, 60), IGNORED, np.uint8)
    labels[:, 20:40], labels[:, 40:] = 0, 149
    drawn = np.asarray(draw_segmentation(Image.new("RGB", (60, 40), (100, 100, 100)), labels, NAMES))
    assert (drawn[:, :20] == 100).all()
    assert len({tuple(drawn[20, x]) for x in (5, 30, 50)}) == 3
    own = [(10 * (i % 20), i, 255) for i in range(150)]
    drawn = np.asarray(draw_segmentation(Image.new("RGB", (60, 40)), labels, NAMES, own))
    assert tuple(drawn[20, 50]) == tuple(round(0.45 * v) for v in own[149])
    assert tuple(drawn[20, 20]) == own[0]  # its outline


def test_background_is_left_as_it_is_and_not_named(monkeypatch):
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 1
    drawn = np.asarray(draw_segmentation(Image.new("RGB", (60, 40), (100, 100, 100)), labels, ["Background", "cell"]))
    assert (drawn[:, :30] == 100).all()
    assert (drawn[:, 32:] != 100).any()
    named = []
    monkeypatch.setattr(
        drawing, "legend", lambda entries, width, **_: named.extend(entries) or Image.new("RGB", (9, 9))
    )
    with_legend(Image.new("RGB", (60, 40)), label_counts(labels), ["Background", "cell"])
    assert named == [(2, "cell 50%")]


def test_a_picture_is_as_large_as_asked_and_labels_of_another_size_fill_it():
    labels = np.arange(4, dtype=np.uint8).reshape(2, 2)
    drawn = draw_segmentation(Image.new("RGB", (400, 200)), labels, NAMES, size=(100, 100))
    assert drawn.size == (100, 50)
    assert len({drawn.getpixel(place) for place in ((20, 10), (80, 10), (20, 40), (80, 40))}) == 4


def test_a_large_image_is_drawn_in_parts_without_a_seam(monkeypatch):
    labels = (np.indices((1100, 30)).sum(0) // 7 % 20).astype(np.uint8)
    image = Image.new("RGB", (30, 1100), (90, 80, 70))
    in_parts = draw_segmentation(image, labels, NAMES)
    monkeypatch.setattr(drawing, "_ROWS", 2400)
    assert in_parts.tobytes() == draw_segmentation(image, labels, NAMES).tobytes()


def test_the_legend_names_what_is_there_the_largest_first(monkeypatch):
    labels = np.array([[7, 7, 7, 2], [7, 7, 2, IGNORED]], np.uint8)
    assert shares(label_counts(labels)) == [(7, pytest.approx(5 / 7)), (2, pytest.approx(2 / 7))]
    named = []
    monkeypatch.setattr(
        drawing, "legend", lambda entries, width, **_: named.extend(entries) or Image.new("RGB", (9, 9))
    )
    picture = Image.new("RGB", (300, 100))
    assert with_legend(picture, label_counts(labels), NAMES).height > 100
    assert named == [(8, "class 7 71%"), (3, "class 2 29%")]
    named.clear()
    with_legend(picture, dict.fromkeys(range(150), 10), NAMES)
    assert len(named) == 40
    assert with_legend(picture, {}, NAMES) is picture
