import numpy as np
import pytest
import rasterio

from densekit.datasets.shared.image_loading import LoadUprightImage, channels_first
from densekit.errors import DataError


@pytest.mark.parametrize("channels", [None, 1, 3, 4, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channels_first(channels, dtype):
    shape = (13, 17) if channels is None else (13, 17, channels)
    image = (255 * np.random.default_rng(0).random(shape)).astype(dtype)
    for view in (image, image[:, ::-1], image[::-1], image[::-1, ::-1], image[2:9, 3:11], image[2:9, 11:3:-1]):
        found = channels_first(view)
        np.testing.assert_array_equal(found, np.atleast_3d(view).transpose(2, 0, 1))
        assert found.flags.c_contiguous and found.dtype == dtype


def tiff(path, values):
    with rasterio.open(path, "w", "GTiff", values.shape[2], values.shape[1], len(values), dtype=values.dtype) as file:
        file.write(values)
    return {"img_path": str(path)}


def test_images_of_other_channels_keep_their_order_and_what_lies_beyond_8_bits(tmp_path):
    values = np.array([0, 1, 4095], np.uint16).reshape(1, 1, 3).repeat(5, axis=0)
    load = LoadUprightImage({"integer": (0, 4095)}, channels=5)
    found = load(tiff(tmp_path / "a.tif", values))
    assert found["img"].dtype == np.float32 and found["img"].shape == (1, 3, 5) and found["ori_shape"] == (1, 3)
    np.testing.assert_allclose(found["img"][0, :, 4], [0, 255 / 4095, 255], rtol=1e-6)
    small = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    np.testing.assert_array_equal(LoadUprightImage({}, 2)(tiff(tmp_path / "b.tif", small))["img"][..., 1], small[1])


def test_an_image_of_another_number_of_channels_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.tif: has 2 channels, expected 5"):
        LoadUprightImage({}, 5)(tiff(tmp_path / "a.tif", np.zeros((2, 4, 4), np.uint8)))
