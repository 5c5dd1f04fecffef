import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from densekit.errors import DataError
from densekit.io.rasters import open_raster, read_raster


def geotiff(path, values, **more):
    """Write ``(C, H, W)``."""
    channels, height, width = values.shape
    profile = {"driver": "GTiff", "width": width, "height": height, "count": channels, "dtype": values.dtype, **more}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    return path


def test_bands_are_channels_and_a_window_is_the_part_of_the_whole(tmp_path):
    values = np.random.default_rng(0).integers(0, 60000, (5, 20, 30), dtype=np.uint16)
    place = from_origin(500000, 2700000, 0.5, 0.5)
    path = geotiff(tmp_path / "a.tif", values, crs="EPSG:32640", transform=place, nodata=0)
    with open_raster(path) as raster:
        assert (raster.size, raster.channels, raster.dtype) == ((30, 20), 5, np.uint16)
        assert (raster.nodata, raster.crs.to_epsg(), raster.transform) == (0, 32640, place)
        part = raster.read((3, 2, 10, 7))
    np.testing.assert_array_equal(part, values[:, 2:9, 3:13].transpose(1, 2, 0))
    np.testing.assert_array_equal(read_raster(path), values.transpose(1, 2, 0))


def test_pages_of_one_size_are_channels(tmp_path):
    pages = [Image.fromarray(np.full((6, 8), n, np.uint8)) for n in (10, 20, 30, 40)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    values = read_raster(tmp_path / "a.tif")
    assert values.shape == (6, 8, 4) and values[0, 0].tolist() == [10, 20, 30, 40]


def test_transparency_is_no_channel_and_a_palette_is_colours(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 4), dtype=np.uint8)
    Image.fromarray(colours, "RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_raster(tmp_path / "a.png"), colours[..., :3])
    image = Image.fromarray(np.full((6, 8), 1, np.uint8), "P")
    image.putpalette([0, 0, 0, 9, 8, 7])
    image.save(tmp_path / "p.png")
    assert read_raster(tmp_path / "p.png")[0, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize(
    ("content", "message"), [("pages", r"pages are 4 x 4 and 8 x 6"), ("text", "not an image"), (None, "no such file")]
)
def test_what_cannot_be_read_is_refused(tmp_path, content, message):
    path = tmp_path / "a.tif"
    if content == "pages":
        Image.new("L", (8, 6)).save(path, save_all=True, append_images=[Image.new("L", (4, 4))])
    elif content:
        path.write_text(content)
    with pytest.raises(DataError, match=message), open_raster(path):
        pass
