"""COCO's JSON in and out. What is refused is tested with the scores."""

import json

import pytest

from densekit.errors import DataError
from densekit.structures.coco import by_image_id, from_coco, from_coco_results, to_coco, to_coco_results


@pytest.fixture
def data():
    """Ids in no order, an image without objects, a crowd, an outline, boxes whose corners cannot give them back."""
    objects = [
        (9, 20, [473.07, 395.93, 38.65, 28.67], 0, [[1, 2, 3.5, 4, 5, 6]]),
        (2, 10, [0.1, 0.2, 0.3, 0.7], 1, {"size": [4, 5], "counts": [3, 17]}),
        (9, 10, [1, 1, 5, 5], 0, None),
    ]
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in (9, 4, 2)],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": 0.6 * box[2] * box[3],
                "iscrowd": crowd,
                **({"segmentation": outline} if outline else {}),
            }
            for n, (image, category, box, crowd, outline) in enumerate(objects)
        ],
        "categories": [{"id": 20, "name": "dog"}, {"id": 10, "name": "cat"}],
    }


def test_annotations_become_columns(data):
    found = from_coco(data)
    assert found.images.ids == (9, 4, 2) and found.images.files[1] == "4.jpg"
    assert (found.names, found.category_ids) == (("cat", "dog"), (10, 20))
    assert found.image_index.tolist() == [0, 0, 2] and found.labels.tolist() == [1, 0, 0]
    assert found.origin == [0, 2, 1] and found.crowd.tolist() == [False, False, True]
    assert found.outlined.tolist() == [True, False, True] and not found.has_masks
    assert from_coco(data, masks=False).masks is None


def test_annotations_are_written_as_they_were_read(data):
    written = json.loads(json.dumps(to_coco(from_coco(data), "words")))
    assert written["info"] == {"description": "words"}
    assert written["images"] == data["images"]
    assert sorted(written["annotations"], key=lambda a: a["id"]) == data["annotations"]
    assert written["categories"] == data["categories"][::-1]


def test_images_in_the_order_of_their_ids(data):
    found = by_image_id(from_coco(data))
    assert list(found.images.ids) == [2, 4, 9] and found.image_index.tolist() == [0, 2, 2]
    assert found.origin == [1, 0, 2] and list(found.images.files) == ["2.jpg", "4.jpg", "9.jpg"]
    assert by_image_id(found) is found


def test_results_there_and_back(data):
    truth = by_image_id(from_coco(data))
    rows = [
        {"image_id": 4, "category_id": 10, "bbox": [473.07, 395.93, 38.65, 28.67], "score": 0.1},
        {"image_id": 2, "category_id": 20, "bbox": [0.1, 0.2, 0.3, 0.7], "score": 1 / 3},
    ]
    found = from_coco_results(rows, truth)
    assert found.image_index.tolist() == [0, 1] and found.images is truth.images
    assert list(to_coco_results(found)) == rows[::-1]


def test_boxes_of_masks_that_come_without(data):
    row = {"image_id": 2, "category_id": 10, "score": 0.5}
    rle = {"size": [4, 5], "counts": [5, 2, 13]}
    found = from_coco_results([{**row, "segmentation": rle}], by_image_id(from_coco(data)))
    assert found.xywh.tolist() == [[1, 1, 1, 2]] and found.has_masks
    assert found.masks[0] == {"size": [4, 5], "counts": "52="}
    with pytest.raises(DataError, match="has the bbox None"):
        from_coco_results([{**row, "segmentation": rle}], from_coco(data), masks=False)


def test_areas_that_are_missing(data):
    for annotation in data["annotations"]:
        del annotation["area"]
    # Of a triangle, of a box without outline, of run lengths with 17 ones.
    assert from_coco(data).areas.tolist() == pytest.approx([(2.5 * 4 - 4 * 2) / 2, 25, 17])
