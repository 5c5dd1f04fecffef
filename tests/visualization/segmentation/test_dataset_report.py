"""The page about label images: what is wrong, with pictures, and nothing that a name could smuggle in."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.segmentation import inspect_segmentation
from densekit.visualization.segmentation.dataset_report import write_dataset_report
from tests.datasets.segmentation.conftest import Maker

NAMES = ["<b>ground</b>", "tree", "car"]


@pytest.fixture
def page(tmp_path):
    """The page about what was written, and its pictures in RGB."""

    def write(fill, **more):
        maker = Maker(tmp_path / "data")
        fill(maker)
        how = {"input_size": (160, 120), "crop": (96, 96), **more}
        found = inspect_segmentation(maker.root, cache=tmp_path / "cache", classes=NAMES, **how)
        write_dataset_report(tmp_path / "out" / "check.html", found)
        html = (tmp_path / "out" / "check.html").read_text()
        pictures = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
        return html, [np.asarray(Image.open(io.BytesIO(base64.b64decode(p))).convert("RGB"), int) for p in pictures]

    return write


def test_a_sound_data_set_shows_its_masks_and_escapes_names(page):
    html, pictures = page(lambda maker: maker.scenes(5))
    assert "Sound; 0 warnings." in html and "Errors" not in html
    assert len(pictures) == 5  # the gallery
    assert "<b>ground" not in html and "&lt;b&gt;ground" in html


@pytest.mark.parametrize("done", [lambda labels: labels[:, ::-1], lambda labels: np.roll(labels, 8, 1)])
def test_a_mask_that_lies_elsewhere_is_drawn_as_it_stands_and_as_it_fits(page, done):
    html, pictures = page(lambda maker: maker.scenes(5, done=done))
    assert "Errors: these stop a training (1)" in html
    assert "(red: the mask as it stands, yellow: as it likely fits)" in html
    for seen in pictures[:3]:
        red, green, blue = np.moveaxis(seen, -1, 0)
        assert ((red > 180) & (green < 130) & (blue < 120)).any()
        assert ((red > 180) & (green > 180) & (blue < 150)).any()


def test_a_thin_object_and_a_mask_that_cannot_be_read(page):
    def fill(maker):
        def lined(labels):
            return np.where((np.indices(labels.shape)[0] == 60), 2, np.minimum(labels, 1)).astype(np.uint8)

        maker.scenes(5, done=lined)
        maker.path("masks/0.png").write_bytes(b"no mask")

    html, pictures = page(fill)
    assert "car: 100% of its pixels, 4 of 4 areas" in html
    assert "Masks cannot be read" in html
    assert len(pictures) == 1 + 4  # the thin object, and the gallery of what can be read


def test_images_of_many_channels_are_shown_by_three_of_them(page):
    _, pictures = page(lambda maker: maker.scenes(3, channels=5))
    assert len(pictures) == 3
