"""Images are opened as boxes are drawn on them."""

import numpy as np
from PIL import Image

from densekit.datasets.shared.small_images import open_small


def test_images_are_opened_upright_and_small(tmp_path):
    Image.fromarray(np.full((30, 1600), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert open_small(tmp_path / "deep.png").shape == (15, 800, 3)
    turned = Image.new("RGB", (40, 20))
    turned.save(
        tmp_path / "turned.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    assert open_small(tmp_path / "turned.jpg").shape == (40, 20, 3)
    (tmp_path / "page.jpg").write_text("<html>")
    assert open_small(tmp_path / "page.jpg") is None
