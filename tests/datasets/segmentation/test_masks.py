import numpy as np
import pytest
from PIL import Image

from densekit.datasets.segmentation.masks import VALUES, read_labels, read_mask
from densekit.errors import DataError

VALUES_8 = np.arange(12, dtype=np.uint8).reshape(3, 4)
LOOKUP = np.full(VALUES, 255, np.uint8)
LOOKUP[:12] = np.arange(12)[::-1]


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(VALUES_8),
        Image.fromarray(VALUES_8).convert("RGB"),
        Image.fromarray(VALUES_8).convert("LA"),
        Image.fromarray(VALUES_8).convert("RGBA"),
        Image.fromarray(VALUES_8, "P"),
        Image.fromarray(VALUES_8.astype(np.uint16)),
    ],
)
def test_all_kinds_of_png_have_their_values(tmp_path, image):
    if image.mode == "P":
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").values, VALUES_8)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", LOOKUP), VALUES_8[::-1, ::-1])


def test_black_and_white_is_0_and_1(tmp_path):
    Image.fromarray(VALUES_8 > 5).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").values, VALUES_8 > 5)


def test_floats_are_read_if_they_are_whole(tmp_path):
    Image.fromarray(VALUES_8.astype(np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif").values, VALUES_8)
    Image.fromarray(VALUES_8 / np.float32(2)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match=r"values from 0 to 5\.5; expected whole numbers"):
        read_mask(tmp_path / "b.tif")


def test_palettes_and_grey_have_the_colours_that_are_seen(tmp_path):
    Image.fromarray(VALUES_8).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").colours()[1, 1].tolist() == [5, 5, 5]
    colours = np.zeros((2, 3, 3), np.uint8)
    colours[0] = (9, 8, 7)
    Image.fromarray(colours).quantize(2).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png").colours(), colours)


def test_a_mask_of_another_size_or_none_is_refused(tmp_path):
    Image.fromarray(VALUES_8).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"is 4 x 3, its image 8 x 3"):
        read_labels(tmp_path / "a.png", LOOKUP, (8, 3))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"b\.png"):
        read_mask(tmp_path / "b.png")
