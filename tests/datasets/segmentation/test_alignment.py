"""A mask that lies elsewhere than on its image is noticed, and where it fits is found."""

import numpy as np
import pytest

from densekit.datasets.segmentation.alignment import TURNS, Alignment, find_alignment
from densekit.structures.label_images import IGNORED
from tests.datasets.segmentation.conftest import scene

SIDE = (140, 140)


@pytest.mark.parametrize("seed", range(4))
def test_a_mask_in_its_place_is_left_there(seed):
    image, labels = scene(seed)
    assert find_alignment(image, labels) == Alignment("", (0, 0))


@pytest.mark.parametrize("shift", [(4, 0), (0, -4), (8, 8), (-16, 6)])
def test_a_shifted_mask_is_found_and_brought_back(shift):
    image, labels = scene(1)
    moved = Alignment("", shift).likely(labels)
    found = find_alignment(image, moved)
    assert found == Alignment("", (-shift[0], -shift[1])) and found.is_off
    back = found.likely(moved)
    assert (back[back != IGNORED] == labels[back != IGNORED]).all() and (back == IGNORED).mean() < 0.3


@pytest.mark.parametrize("turn", [turn for turn in TURNS if turn])
def test_a_turned_or_mirrored_mask_is_found_and_brought_back(turn):
    image, labels = scene(2, SIDE)
    inverse = {"turned by 90 degrees": "turned by 270 degrees", "turned by 270 degrees": "turned by 90 degrees"}
    wrong = TURNS[inverse.get(turn, turn)](labels)
    found = find_alignment(image, wrong)
    assert found.turn == turn and np.abs(found.shift).max() <= 1
    assert (Alignment(turn, (0, 0)).likely(wrong) == labels).all()


def test_nothing_is_said_where_the_image_does_not_change_along_the_mask_or_there_is_no_border():
    image, labels = scene(3)
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    assert find_alignment(noise, labels) is None
    assert find_alignment(np.full_like(image, 90), labels) is None
    assert find_alignment(image, np.ones_like(labels)) is None


def test_borders_to_ignored_pixels_do_not_count():
    image, labels = scene(3)
    assert find_alignment(image, np.where(labels == 0, IGNORED, 1).astype(np.uint8)) is None
