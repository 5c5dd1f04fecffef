import json

import pytest

from densekit.datasets.segmentation import looks_like_segmentation, recognize
from densekit.errors import DataError


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.jpg", "masks/a.png"),
        ("img/a.jpg", "ann/a.png"),
        ("imgs/a.jpg", "labels/a_label.png"),
        ("train/images/a.jpg", "train/masks/a_mask.png"),
        ("images/train/a.jpg", "masks/train/a.png"),
        ("train/a.jpg", "train_labels/a_L.png"),
        ("train/a.png", "trainannot/a.png"),
        ("a.jpg", "a_mask.png"),
        ("train/7_sat.jpg", "train/7_mask.png"),
        ("Tile 1/images/part 1.jpg", "Tile 1/masks/part 1.png"),
        ("photos/a.jpg", "semantic/x/a.png"),
        ("inner/images/a.jpg", "inner/masks/a.png"),
    ],
)
def test_pairs_are_found_whatever_their_folders_are_called(maker, image, mask):
    maker.image(image)
    maker.mask(mask)
    source = recognize(maker.root)
    (pair,) = source.reader(source).pairs
    assert (source.root / pair.image, source.root / pair.mask) == (maker.root / image, maker.root / mask)
    assert looks_like_segmentation(maker.root)


def test_images_of_one_name_in_several_folders_keep_to_their_own_masks(maker):
    for tile in "12":
        maker.pairs("a", folder=f"Tile {tile}/")
    source = recognize(maker.root)
    for pair in source.reader(source).pairs:
        assert pair.image.split("/")[0] == pair.mask.split("/")[0]


def test_nothing_is_found_in_images_alone(maker):
    maker.image("images/a.png", "images/b.png")
    with pytest.raises(DataError, match=r"no images with masks were found; .* holds images/"):
        recognize(maker.root)
    assert not looks_like_segmentation(maker.root)


def test_what_can_be_boxes_is_left_to_detection(maker):
    maker.image("a.png")
    maker.text("annotations.json", json.dumps({"images": [], "annotations": [], "categories": []}))
    assert recognize(maker.root).format == "coco" and not looks_like_segmentation(maker.root)


def test_a_file_is_refused(maker):
    with pytest.raises(DataError, match="is a file, not a folder"):
        recognize(maker.text("a.txt", ""))
