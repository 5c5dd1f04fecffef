import numpy as np
import pytest
from PIL import Image

from densekit.errors import DataError
from tests.datasets.segmentation.conftest import found, labels


def lists(maker, kind="Segmentation", **stems):
    for name, listed in stems.items():
        maker.text(f"ImageSets/{kind}/{name}.txt", "\n".join(listed))
        maker.image(*(f"JPEGImages/{stem}.jpg" for stem in listed))


def palette_mask(maker, name, values):
    maker.mask(name, values=values)
    with Image.open(maker.path(name)) as image:
        mask = Image.fromarray(np.asarray(image), "P")
    mask.putpalette(np.arange(768) // 3)
    mask.save(maker.path(name))


def test_palettes_are_read_as_indices_and_255_is_ignored(maker):
    lists(maker, train="a", val="b", trainval="ab", test="t")
    for stem in "ab":
        palette_mask(maker, f"SegmentationClass/{stem}.png", (0, 1, 255))
    data = maker.prepare()
    assert data.format == "voc" and data.classes[:2] == ("background", "aeroplane") and len(data.classes) == 21
    assert labels(data) == labels(data, "val") == [0, 1, 255]
    assert found(data)["image-without-mask"] == ("warning", 1)


def test_colours_of_voc_are_understood_with_the_border(maker):
    lists(maker, train="a", val="b")
    maker.mask("SegmentationClass/a.png", "SegmentationClass/b.png", values=[(0, 0, 0), (128, 0, 0), (224, 224, 192)])
    assert labels(maker.prepare()) == [0, 1, 255]


def test_context_has_no_background(maker):
    lists(maker, "SegmentationContext", train="a", val="b")
    maker.mask("SegmentationClassContext/a.png", "SegmentationClassContext/b.png", values=(0, 1, 59))
    data = maker.prepare()
    assert data.format == "context" and labels(data) == [255, 0, 58] and data.classes[0] == "aeroplane"


def test_masks_of_cvat_are_coloured_as_its_label_map_says(maker):
    lists(maker, default="ab")
    maker.text("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncell:250,50,83::\n")
    maker.mask("SegmentationClass/a.png", "SegmentationClass/b.png", values=[(0, 0, 0), (250, 50, 83)])
    data = maker.prepare()
    assert data.format == "cvat_masks" and data.classes == ("background", "cell") and labels(data) == [0, 1]


def test_an_image_in_two_splits_is_refused(maker):
    lists(maker, train="ab", val="b")
    maker.mask("SegmentationClass/a.png", "SegmentationClass/b.png")
    with pytest.raises(DataError, match=r"val\.txt: b is in train too"):
        maker.prepare()
