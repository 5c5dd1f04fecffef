import json

import pytest

from densekit.errors import DataError
from tests.datasets.segmentation.conftest import found, labels

LEFT, RIGHT = [0, 0, 8, 0, 8, 12, 0, 12], [4, 0, 12, 0, 12, 12, 4, 12]


def coco(maker, objects, images=("a", "b")):
    """objects: (image number, category, outline)."""
    maker.image(*(f"{stem}.png" for stem in "ab"))
    content = {
        "images": [{"id": n, "file_name": f"{s}.png", "width": 16, "height": 12} for n, s in enumerate(images)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "segmentation": s, "bbox": [0, 0, 8, 8], "area": 9, "iscrowd": 0}
            for n, (i, c, s) in enumerate(objects, start=1)
        ],
    }
    maker.text("annotations.json", json.dumps(content))


def test_later_objects_lie_above_and_what_is_not_drawn_is_background(maker):
    rle = {"size": [12, 16], "counts": [0, 12 * 2, 12 * 14]}
    coco(maker, [(0, 3, [LEFT]), (0, 5, [RIGHT]), (1, 5, rle), (1, 3, None)])
    data = maker.prepare(seed=None)
    assert data.format == "coco" and data.classes == ("background", "cat", "dog")
    assert labels(data) == [1, 2, 0] and labels(data, number=1) == [2, 0]
    assert found(data)["overlap"] == ("note", 1) and found(data)["object-without-outline"] == ("warning", 1)


def test_classes_that_are_not_asked_for_are_background_and_ignored_ones_are_not(maker):
    coco(maker, [(0, 3, [LEFT]), (0, 5, [RIGHT]), (1, 3, [LEFT])])
    for classes in (["background", "cat"], ["cat"]):
        data = maker.prepare(classes=classes, seed=None)
        assert data.classes == ("background", "cat") and labels(data) == [1, 0]
    assert labels(maker.prepare(ignore="dog", seed=None)) == [1, 255, 0]
    assert labels(maker.prepare(ignore="background", seed=None)) == [0, 1, 255]


def test_an_image_that_is_not_there_is_refused(maker):
    coco(maker, [(0, 3, [LEFT])], images=("a", "c"))
    with pytest.raises(DataError, match=r"c\.png: it is not there"):
        maker.prepare()


def test_coco_beside_masks_is_for_the_user_to_choose(maker):
    coco(maker, [(0, 3, [LEFT])])
    maker.mask("masks/a.png", "masks/b.png")
    with pytest.raises(DataError, match=r"more than one way .* say which with data_format=coco or data_format=pairs"):
        maker.prepare()
    assert maker.prepare(format="pairs").classes == ("0", "1")
