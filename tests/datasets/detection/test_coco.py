"""COCO files as tools write them: any ids, any order, images wherever they lie; classes go by name."""

import json

import pytest

from densekit.datasets.detection import recognize
from densekit.errors import DataError

BOX = [4, 4, 10, 12]


def test_boxes_splits_classes_and_background(make, load, boxes_of):
    root = make.two_splits([(0, 0, BOX), (0, 1, [20, 10, 5.5, 6.25])], [(0, 1, BOX)])
    dataset, found = load(root)
    assert dataset.classes == ("cat", "dog")
    assert boxes_of(dataset) == [
        ("train2017/1.jpg", "cat", BOX),
        ("train2017/1.jpg", "dog", [20, 10, 5.5, 6.25]),
        ("val2017/4.jpg", "dog", BOX),
    ]
    assert {split: dataset.counts(split) for split in dataset.splits} == {
        "train": {"images": 3, "background": 2, "objects": 2},
        "val": {"images": 2, "background": 1, "objects": 1},
    }
    assert found["background"].count == 3
    assert "2 in train, 1 in val" in found["background"].message
    assert not [f for f in dataset.findings if f.severity != "note"]


def test_category_ids_may_be_anything_and_differ_between_splits(make, load, boxes_of):
    make.two_splits([], [])
    make.coco(
        "annotations/instances_train2017.json",
        ["1.jpg"],
        [(0, 0, BOX, {"category_id": 90}), (0, 0, [1, 1, 5, 5], {"category_id": 7})],
        categories=[{"id": 90, "name": "cat"}, {"id": 7, "name": "dog"}],
    )
    make.coco(
        "annotations/instances_val2017.json",
        ["4.jpg"],
        [(0, 0, BOX, {"category_id": 7})],
        categories=[{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}],
    )
    dataset, found = load(make.root)
    assert dataset.classes == ("dog", "cat")  # by id in the training file
    assert [(file, label) for file, label, _ in boxes_of(dataset)] == [
        ("train2017/1.jpg", "cat"),
        ("train2017/1.jpg", "dog"),
        ("val2017/4.jpg", "cat"),
    ]
    assert "matched by name" in found["category-order"].message
    assert "instances_val2017.json" in found["category-order"].examples[0].where


def test_roboflows_empty_parent_category_is_left_out(make, load):
    make.image("train/a.jpg")
    make.coco(
        "train/_annotations.coco.json",
        ["a.jpg"],
        [(0, 1, BOX)],
        categories=[
            {"id": 1, "name": "cells", "supercategory": "none"},
            {"id": 2, "name": "RBC", "supercategory": "cells"},
        ],
    )
    dataset, found = load(make.root)
    assert dataset.classes == ("RBC",)
    assert found["category-parent"].examples[0].where == "'cells'"


def test_cocos_person_is_kept_though_it_is_its_own_supercategory(make, load):
    make.two_splits([(0, 0, BOX)], [], categories=[{"id": 1, "name": "person", "supercategory": "person"}])
    assert load(make.root)[0].classes[0] == "person"


@pytest.mark.parametrize("name", ["images/1.jpg", "1.jpg", "images\\1.jpg", "/data/upload/7/1.jpg", "../x/media/1.jpg"])
def test_images_are_found_however_the_export_names_them(make, load, name):
    make.image("images/1.jpg")
    make.coco("result.json", [name], [(0, 0, BOX)])
    dataset, found = load(make.root)
    assert dataset.images[0].file == "images/1.jpg"
    assert "image-missing" not in found


def test_numbered_images_come_from_their_own_split(make, load):
    for split in ("train", "val"):
        make.image(f"{split}/1.jpg")
        make.coco(f"annotations/{split}.json", ["1.jpg", "2.jpg"], [(0, 0, BOX)])
    make.image("val/2.jpg")
    dataset, found = load(make.root)
    assert [image.file for image in dataset.images] == ["train/1.jpg", "2.jpg", "val/1.jpg", "val/2.jpg"]
    assert found["image-missing"].count == 1


def test_ids_from_zero_as_text_or_twice_are_put_right(make, load):
    make.image("1.jpg")
    make.image("2.jpg")
    make.coco(
        "result.json",
        [{"id": "0", "file_name": "1.jpg", "width": 64, "height": 48}, {"id": 1, "file_name": "2.jpg"}],
        [
            (0, 0, BOX, {"id": 0, "image_id": 0, "category_id": "0"}),
            (1, 0, BOX, {"id": 0, "image_id": 1, "category_id": 1}),
        ],
        categories=[{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    )
    dataset, found = load(make.root)
    assert found["annotation-id-zero"].severity == "warning"
    assert found["annotation-id-twice"].count == 1
    assert found["size-missing"].count == 1
    coco = [dataset.to_coco(split) for split in dataset.splits]
    assert all([a["id"] for a in part["annotations"]] == [1] for part in coco)
    assert {a["category_id"] for part in coco for a in part["annotations"]} == {1, 2}


def test_missing_keys_are_filled_and_counted(make, load):
    outline = [[4, 4, 14, 4, 14, 16, 4, 16]]
    root = make.two_splits(
        [
            (0, 0, BOX, {"area": None, "iscrowd": None}),
            (1, 0, [0, 0, 0, 0], {"bbox": [], "segmentation": outline, "area": 0}),
        ],
        [],
    )
    dataset, found = load(root)
    assert found["area-missing"].count == 2
    assert found["crowd-missing"].count == 1
    assert found["box-from-outline"].count == 1
    assert dataset.annotations.xywh.tolist() == [BOX, BOX]
    assert dataset.annotations.areas.tolist() == [120, 120]


def test_crowds_and_ignored_objects_are_ignored_in_the_written_file(make, load):
    rle = {"size": [48, 64], "counts": [0, 100, 48 * 64 - 100]}
    root = make.two_splits([(0, 0, BOX, {"iscrowd": 1, "segmentation": rle}), (1, 0, BOX, {"ignore": 1})], [])
    dataset, found = load(root)
    assert found["crowd"].count == 2
    written = dataset.to_coco("train")["annotations"]
    assert [a["iscrowd"] for a in written] == [1, 1]
    assert written[0]["segmentation"] == rle


def test_an_image_listed_twice_gets_the_boxes_of_both(make, load):
    make.image("1.jpg")
    make.coco("result.json", ["1.jpg", "1.jpg"], [(0, 0, BOX), (1, 1, [20, 20, 5, 5]), (1, 0, BOX)])
    dataset, found = load(make.root)
    assert len(dataset.images) == 1
    assert found["image-twice"].count == 1
    assert found["box-duplicate"].count == 1
    assert len(dataset.annotations) == 2


def test_errors_are_collected_with_their_place(make, load):
    root = make.two_splits(
        [
            (0, 8, BOX),
            (0, 0, BOX, {"bbox": [1, 2, 3]}),
            (0, 0, BOX, {"bbox": [1, 2, "x", 3]}),
            (7, 0, BOX),
            (0, 0, BOX),
        ],
        [],
        categories=[{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}],
    )
    dataset, found = load(root)
    assert "category_id 9, 1 times" in found["category-unknown"].examples[0].where
    assert found["box-malformed"].count == 2
    assert "annotation 2 has bbox [1, 2, 3]" in found["box-malformed"].examples[0].where
    assert found["annotation-without-image"].count == 1
    assert "id 1 is 'cat' and 'dog'" in found["category-id-twice"].examples[0].where
    assert [found[c].severity for c in ("category-unknown", "box-malformed", "category-id-twice")] == ["error"] * 3
    assert len(dataset.annotations) == 1


def test_an_image_id_for_two_files_is_an_error(make, load):
    for name in ("1.jpg", "2.jpg"):
        make.image(name)
    records = [{"id": 5, "file_name": name, "width": 64, "height": 48} for name in ("1.jpg", "2.jpg")]
    make.coco("result.json", records, [(4, 0, BOX)])
    assert load(make.root)[1]["image-id-twice"].severity == "error"


def test_a_category_name_under_two_ids_is_one_class(make, load):
    root = make.two_splits(
        [(0, 0, BOX), (1, 1, BOX)], [], categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": " cat"}]
    )
    dataset, found = load(root)
    assert dataset.classes[0] == "cat"
    assert {"category-merged", "name-spaces"} <= found.keys()
    assert dataset.annotations.labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"images": [], "annotations": []}, "no list 'categories'"),
        ({"images": [3], "annotations": [], "categories": []}, "'images' holds '3'"),
        ({"images": [{"id": 1}], "annotations": [], "categories": []}, "no file_name or no id"),
        ({"images": [], "annotations": [], "categories": [{"name": "cat"}]}, "no id or no name"),
        (
            {"images": [], "annotations": [{"image_id": [1], "category_id": 1}], "categories": []},
            r"image_id=\[1\] in 'annotations' is no number",
        ),
    ],
)
def test_what_is_not_coco_is_said_in_one_line(make, load, content, words):
    make.text("result.json", json.dumps(content))
    with pytest.raises(DataError, match=words):
        load(make.root)


def test_broken_json_is_named_with_its_line(make):
    make.text("result.json", '{"images": [],\n"annotations": [}')
    with pytest.raises(DataError, match=r"result\.json, line 2"):
        source = recognize(make.root)
        source.reader(source)
