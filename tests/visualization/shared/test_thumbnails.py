"""Small pictures for pages."""

import pytest
from PIL import Image

from densekit.visualization.shared.thumbnails import crop_around


def test_crops_show_what_lies_beyond_the_border():
    image = Image.new("RGB", (100, 80), (0, 0, 200))
    whole = crop_around(image, [])
    assert whole.size[0] / whole.size[1] == pytest.approx(100 / 80, rel=0.02)
    for box in ((90, 10, 130, 40), (-30, -20, 5, 5), (400, 400, 420, 420), (50, 50, 50, 50)):
        crop = crop_around(image, [box])
        colors = {color for _, color in crop.getcolors(1 << 20)}
        assert any(red > 150 and blue < 120 for red, _, blue in colors), box
