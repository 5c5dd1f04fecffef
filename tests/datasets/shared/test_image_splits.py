"""The drawn validation split is the same images in every layout."""

import pytest

from densekit.datasets.shared.image_splits import draw

STEMS = [f"p{n:02d}" for n in range(40)] + ["Mäuse", "a b", "a.b", "x.y.z"]
LAYOUTS = ["{}.jpg", "images/{}.png", "JPEGImages/{}.jpeg", "{0}/images/{0}.png", "/data/set/train/{}.tif"]


def chosen(layout, seed):
    """The numbers of the stems that are drawn."""
    found = draw([layout.format(stem) for stem in STEMS], seed=seed)
    return {stem for stem in STEMS if layout.format(stem) in found}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_images_are_drawn_in_every_layout(layout, seed):
    assert chosen(layout, seed) == chosen(LAYOUTS[0], seed)
    assert len(chosen(layout, seed)) == 9


def test_one_stem_in_many_folders_is_many_images():
    files = [f"case{n}/image.png" for n in range(20)]
    assert len(draw(files, seed=0)) == 4
    assert draw([f"set/{file}" for file in files], seed=0) == {f"set/{file}" for file in draw(files, seed=0)}


def test_files_of_one_stem_in_one_folder_stay_together():
    files = [f"{n}.{suffix}" for n in range(10) for suffix in ("jpg", "png")]
    assert len(draw(files, seed=0)) == 4
