"""Each operation gives, pixel by pixel, what MMDetection's BitmapMasks give."""

import pickle

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from densekit.datasets.shared.cropped_masks import CroppedMasks

HEIGHT, WIDTH = 37, 52

OPERATIONS = {
    "larger": lambda m: m.resize((90, 71)),
    "smaller": lambda m: m.resize((17, 23)),
    "one pixel": lambda m: m.resize((1, 1)),
    "smooth": lambda m: m.resize((50, 60), "bilinear"),
    "by a factor": lambda m: m.rescale(1.7),
    "into a frame": lambda m: m.rescale((40, 40)),
    "left-right": lambda m: m.flip(),
    "top-bottom": lambda m: m.flip("vertical"),
    "both": lambda m: m.flip("diagonal"),
    "padded": lambda m: m.pad((64, 64)),
    "padded with ones": lambda m: m.pad((64, 64), pad_val=1),
    "cut out": lambda m: m.crop(np.array([10, 5, 30, 31])),
    "cut out over the border": lambda m: m.crop(np.array([-4, -9, 99, 20])),
    "cut out, nothing": lambda m: m.crop(np.array([7, 7, 7, 7])),
    "on a canvas": lambda m: m.expand(80, 70, 6, 11),
    "moved": lambda m: m.translate((HEIGHT, WIDTH), 5),
    "moved up in a larger canvas": lambda m: m.translate((64, 80), -9, "vertical"),
    "moved left in a smaller canvas": lambda m: m.translate((16, 40), -8),
    "moved down and right": lambda m: m.translate((30, 80), (21, 12), "both"),
    "moved out": lambda m: m.translate((HEIGHT, WIDTH), -60),
    "moved by parts of pixels": lambda m: m.translate((HEIGHT, WIDTH), 2.5),
    "turned": lambda m: m.rotate((HEIGHT, WIDTH), 30),
    "sheared": lambda m: m.shear((HEIGHT, WIDTH), 0.2),
    "first": lambda m: m[0],
    "by number": lambda m: m[np.array([3, 0])],
    "by switch": lambda m: m[np.array([True, False, True, False, True])],
    "by tensor": lambda m: m[torch.tensor([1, 2])],
    "slice": lambda m: m[1:4],
    "together": lambda m: type(m).cat([m[:2], m]),
    "in boxes": lambda m: m.crop_and_resize(
        torch.tensor([[0, 0, 20, 30.0], [5, 5, 50, 37]]), (14, 14), torch.tensor([1, 3])
    ),
    "several steps": lambda m: m.resize((74, 104)).flip().crop(np.array([3, 9, 80, 60])).flip("vertical").pad((96, 96)),
}


@pytest.fixture(scope="module")
def bitmaps():
    """Two blobs, one over the whole image, one of nothing, one in a corner."""
    rng = np.random.default_rng(0)
    masks = np.zeros((5, HEIGHT, WIDTH), np.uint8)
    masks[0, 10:20, 30:45] = rng.random((10, 15)) > 0.4
    masks[1] = rng.random((HEIGHT, WIDTH)) > 0.5
    masks[3, 5:30, 2:9] = 1
    masks[4, -1, -1] = 1
    return masks


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(bitmaps, name):
    given = CroppedMasks(bitmaps, HEIGHT, WIDTH)
    found, expected = OPERATIONS[name](given), OPERATIONS[name](BitmapMasks(bitmaps, HEIGHT, WIDTH))
    assert (found.height, found.width, len(found)) == (expected.height, expected.width, len(expected))
    np.testing.assert_array_equal(found.masks, expected.masks)
    np.testing.assert_array_equal(found.areas, expected.areas)
    np.testing.assert_array_equal(given.masks, bitmaps)  # left as they were


CHOOSING = {"first", "by number", "by switch", "by tensor", "in boxes"}
"""Ask for objects that are there."""


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - CHOOSING))
def test_operations_on_none(name):
    nothing = np.zeros((0, HEIGHT, WIDTH), np.uint8)
    found, expected = (OPERATIONS[name](kind(nothing, HEIGHT, WIDTH)) for kind in (CroppedMasks, BitmapMasks))
    assert found.masks.shape == expected.masks.shape


def test_resizing_is_opencvs_for_any_size():
    rng = np.random.default_rng(1)
    for _ in range(300):
        height, width, new_height, new_width = (int(v) for v in rng.integers(1, 400, 4))
        masks = (rng.random((1, height, width)) > 0.5).astype(np.uint8)
        found = CroppedMasks(masks, height, width).resize((new_height, new_width)).masks
        np.testing.assert_array_equal(found, BitmapMasks(masks, height, width).resize((new_height, new_width)).masks)


def test_only_what_is_there_is_kept(bitmaps):
    """Also where a worker process hands it over."""
    small = CroppedMasks(bitmaps[[0, 3, 4]], HEIGHT, WIDTH).resize((1000, 1400))
    sent = pickle.dumps(small)
    assert len(sent) < 0.1 * small.masks.nbytes
    np.testing.assert_array_equal(pickle.loads(sent).masks, small.masks)


def test_objects_are_chosen_with_their_masks(bitmaps):
    """As MMDetection does after sampling."""
    objects = InstanceData(masks=CroppedMasks(bitmaps, HEIGHT, WIDTH), labels=torch.arange(5))
    np.testing.assert_array_equal(objects[torch.tensor([4, 0])].masks.masks, bitmaps[[4, 0]])
    np.testing.assert_array_equal(objects[torch.tensor([True, False, False, True, False])].masks.masks, bitmaps[[0, 3]])


def test_together_with_whole_bitmaps(bitmaps):
    both = [CroppedMasks(bitmaps, HEIGHT, WIDTH), BitmapMasks(bitmaps, HEIGHT, WIDTH)]
    np.testing.assert_array_equal(CroppedMasks.cat(both).masks, np.concatenate([bitmaps, bitmaps]))
    with pytest.raises(ValueError, match="none given"):
        CroppedMasks.cat([])
