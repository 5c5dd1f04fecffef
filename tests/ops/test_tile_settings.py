"""Settings of the prediction of images: plain values in and out, and what cannot be is said."""

import pytest

from densekit.errors import ConfigError
from densekit.ops.tile_settings import TileSettings


def test_plain_values_come_back():
    settings = TileSettings(mode="slide", crop=(96, 64), scales=(0.5, 1.0), flip=True)
    assert TileSettings.from_dict(settings.to_dict()) == settings
    assert settings.to_dict()["crop"] == [96, 64] and settings.stride == (64, 42)
    assert TileSettings.from_dict(None) == TileSettings() and settings.augmented and not TileSettings().augmented


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "slid"}, "inference mode='slid': expected 'whole' or 'slide'.*slide"),
        ({"crop_size": (512, 512)}, "unknown setting 'crop_size'.*crop"),
        ({"crop": 512}, r"inference crop=512: expected height and width"),
        ({"stride": (600, 10)}, r"stride=\(600, 10\): larger than crop=\(512, 512\)"),
        ({"scales": []}, r"inference scales=\(\): expected numbers above 0"),
        ({"scales": (0,)}, "numbers above 0"),
        ({"flip": 1}, "flip=1: expected True or False"),
        ({"size_multiple": 0}, "size_multiple=0: expected a whole number"),
        ({"blend": "gauss"}, "blend='gauss': expected 'gaussian' or 'cosine' or 'mean'.*gaussian"),
        ({"large": 0.5}, "large=0.5: expected a positive number of pixels"),
    ],
)
def test_what_cannot_be_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        TileSettings.from_dict(given)


def test_tiles_cover_the_image_and_the_last_is_moved_back():
    settings = TileSettings(crop=(4, 6), stride=(3, 5))
    assert settings.origins((10, 16)) == ([0, 3, 6], [0, 5, 10])
    assert settings.origins((4, 7)) == ([0], [0, 1])
    assert settings.origins((3, 2)) == ([0], [0])
