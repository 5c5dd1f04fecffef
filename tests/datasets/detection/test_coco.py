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
    assert found["annotation-id-zero"].severity == "note"
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


# --- one name, several files -----------------------------------------------------------------------------------------


def cameras(make, size=((64, 48), (64, 48)), numbers=(1, 2)):
    for camera, sides in zip("AB", size, strict=True):
        for number in numbers:
            make.image(f"cam{camera}/{number}.jpg", sides)


@pytest.mark.parametrize("name", ["{}.jpg", "./{}.jpg", "/content/upload/{}.jpg", "C:\\data\\{}.jpg"])
@pytest.mark.parametrize("json_at", ["labels.json", "annotations/instances_default.json"])
def test_names_that_fit_two_folders_are_an_error_that_names_them(make, load, boxes_of, name, json_at):
    cameras(make)
    make.image("camA/3.jpg")
    names = [name.format(n) for n in (1, 2, 1, 2, 3)]
    make.coco(json_at, names, [(image, 0, BOX) for image in range(5)])
    dataset, found = load(make.root)
    assert found["image-ambiguous"].count == 4
    assert "(id 1, 3) is camA/1.jpg or camB/1.jpg" in found["image-ambiguous"].examples[0].where
    assert [file for file, _, _ in boxes_of(dataset)] == ["camA/3.jpg"]


@pytest.mark.parametrize("prefix", ["cam{}/", "/content/set/cam{}/", "C:\\set\\cam{}\\"])
def test_names_with_their_folder_are_told_apart(make, load, boxes_of, prefix):
    cameras(make)
    names = [f"{prefix.format(camera)}{n}.jpg" for camera in "AB" for n in (1, 2)]
    make.coco("labels.json", names, [(image, 0, BOX) for image in range(4)])
    dataset, found = load(make.root)
    assert "image-ambiguous" not in found
    assert [file for file, _, _ in boxes_of(dataset)] == ["camA/1.jpg", "camA/2.jpg", "camB/1.jpg", "camB/2.jpg"]


def test_sizes_tell_the_cameras_apart(make, load, boxes_of):
    cameras(make, ((64, 48), (32, 48)))
    records = [
        {"id": n, "file_name": "1.jpg", "width": width, "height": 48} for n, width in enumerate((32, 64), start=1)
    ]
    make.coco("labels.json", records, [(0, 0, BOX), (1, 0, BOX)])
    dataset, found = load(make.root)
    assert "image-ambiguous" not in found
    assert [file for file, _, _ in boxes_of(dataset)] == ["camB/1.jpg", "camA/1.jpg"]


@pytest.mark.parametrize("json_at", ["camB/labels.json", "labels.json"])
def test_a_file_of_one_camera_is_read_from_the_folder_it_fits(make, load, boxes_of, json_at):
    cameras(make)
    make.image("camB/3.jpg")
    make.coco(json_at, ["1.jpg", "2.jpg", "3.jpg"], [(image, 0, BOX) for image in range(3)])
    dataset, found = load(make.root / json_at)
    assert "image-ambiguous" not in found
    assert {dataset.path(n).parent.name for n in range(3)} == {"camB"}


def test_equal_files_are_one_image(make, load):
    cameras(make)
    for n in (1, 2):
        (make.root / f"camB/{n}.jpg").write_bytes((make.root / f"camA/{n}.jpg").read_bytes())
    make.coco("labels.json", ["1.jpg", "2.jpg"], [(0, 0, BOX)])
    assert "image-ambiguous" not in load(make.root)[1]


def test_an_image_of_another_folder_is_not_taken_for_a_missing_one(make, load):
    cameras(make)
    make.image("camA/7.jpg")
    make.coco("labels.json", ["camA/1.jpg", "camB/7.jpg"], [(0, 0, BOX), (1, 0, BOX)])
    assert load(make.root)[1]["image-missing"].examples[0].where == "camB/7.jpg"


def test_an_umlaut_is_found_however_the_file_system_writes_it(make, load):
    make.image("images/Ma\u0308use.jpg")
    make.coco("labels.json", ["M\u00e4use.jpg"], [(0, 0, BOX)])
    assert "image-missing" not in load(make.root)[1]


# --- files that cannot be read ---------------------------------------------------------------------------------------

FAULTS = {
    "empty": (b"", "is empty"),
    "spaces": (b" \n", "is empty"),
    "utf-16": ('{"images": [], "annotations": [], "categories": []}'.encode("utf-16"), "is UTF-16 text"),
    "web page": (b"<!DOCTYPE html><html></html>", "is a web page or XML"),
    "list": (b"[]", "has no list 'images'"),
    "other object": (b'{"message": "Not Found"}', "has no list 'images'"),
    "cut": (b'{"images": [{"id": 1', "not valid JSON"),
    "binary": (b"\x89PNG\r\n\x1a\n", "is no text in UTF-8"),
    "text": (b"hello", "not valid JSON"),
    "dangling link": (None, "cannot be read"),
    "folder": (..., "cannot be read"),
}


def spoil(path, content):
    path.unlink(missing_ok=True)
    if content is None:
        path.symlink_to("nowhere")
    elif content is ...:
        path.mkdir()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize(("content", "words"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(
    "name",
    [
        "annotations/instances_{}2017.json",
        "annotations/{}.json",
        "{}.json",
        "{}/_annotations.coco.json",
        "lvis_{}.json",
    ],
)
@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_file_that_cannot_be_read_is_not_as_if_it_were_not_there(make, load, name, content, words, given):
    for split in ("train", "val"):
        make.image(f"{split}/{split}.jpg")
        make.coco(name.format(split), [f"{split}.jpg"], [(0, 0, BOX)])
    spoil(make.root / name.format("val"), content)
    with pytest.raises(DataError, match=words) as error:
        load(make.root if given == "folder" else make.root / name.format("train"))
    assert name.format("val") in str(error.value)


@pytest.mark.parametrize(("content", "words"), [FAULTS[k] for k in ("empty", "utf-16", "web page", "binary")])
def test_the_only_file_is_named_with_what_is_wrong(make, load, content, words):
    make.image("images/1.jpg")
    spoil(make.root / "labels.json", content)
    with pytest.raises(DataError, match=rf"labels\.json.*{words}"):
        load(make.root)


def test_other_programs_files_beside_are_left_alone(make, load):
    root = make.two_splits([(0, 0, BOX)], [(0, 0, BOX)])
    make.text("annotations/detections.json", "[]")
    make.text("settings.json", "{}")
    make.text("annotations/captions_val2017.json", "")
    assert load(root)[0].splits == ("train", "val")


def test_a_validation_file_without_images_is_an_error_and_none_is_drawn(make, load):
    root = make.two_splits([(0, 0, BOX), (1, 0, BOX)], [])
    make.coco("annotations/instances_val2017.json", [], [])
    dataset, found = load(root)
    assert found["split-empty"].examples[0].where == "val: annotations/instances_val2017.json"
    assert dataset.splits == ("train",)


# --- numbers that are none, LVIS, Roboflow ---------------------------------------------------------------------------

OUTLINE = [[4, 4, 14, 4, 14, 16, 4, 16]]
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("bad", [NAN, INF, -INF, 10**400, "nan"], ids=["nan", "inf", "-inf", "huge", "text"])
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("outline", [None, OUTLINE], ids=["box", "outlined"])
def test_a_box_that_is_no_number_is_an_error_with_its_id(make, load, bad, place, outline):
    box = [bad if n == place else v for n, v in enumerate(BOX)]
    root = make.two_splits([(0, 0, BOX, {"bbox": box, "segmentation": outline, "id": 77}), (1, 0, BOX)], [])
    dataset, found = load(root)
    assert "annotation 77 has bbox" in found["box-malformed"].examples[0].where
    assert len(dataset.annotations) == 1


@pytest.mark.parametrize("key", ["area", "width", "height"])
@pytest.mark.parametrize("bad", [NAN, INF, 10**400, -1], ids=["nan", "inf", "huge", "negative"])
def test_areas_and_sides_that_are_no_number_are_computed(make, load, key, bad):
    make.image("1.jpg")
    record = {"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}
    own = key == "area"
    make.coco("r.json", [record if own else {**record, key: bad}], [(0, 0, BOX, {"area": bad} if own else {})])
    dataset, _ = load(make.root)
    assert (dataset.images[0].width, dataset.images[0].height) == (64, 48)
    assert dataset.annotations.areas.tolist() == [120]


@pytest.mark.parametrize("host", ["http://images.cocodataset.org/", "s3://bucket/deep/"])
@pytest.mark.parametrize("folder", ["{}2017/", "images/"])
def test_lvis_names_its_images_by_address(make, load, boxes_of, host, folder):
    for split in ("train", "val"):
        make.image(f"{folder.format(split)}{split}.jpg")
        record = {"id": 1, "coco_url": f"{host}{split}2017/{split}.jpg", "width": 64, "height": 48}
        unseen = record | {"id": 2, "coco_url": record["coco_url"].replace(".jpg", "2.jpg")}
        make.image(f"{folder.format(split)}{split}2.jpg")
        make.coco(f"annotations/lvis_v1_{split}.json", [record, unseen], [(0, 0, BOX)])
    dataset, _ = load(make.root)
    assert {f.count for f in dataset.findings if "coco_url" in f.message} == {4}  # images, not files
    assert [file for file, _, _ in boxes_of(dataset)] == [f"{folder.format(s)}{s}.jpg" for s in ("train", "val")]


def test_keypoint_files_are_read_for_their_boxes(make, load):
    make.image("train2017/1.jpg")
    make.coco("annotations/person_keypoints_train2017.json", ["1.jpg"], [(0, 0, BOX, {"keypoints": [1, 1, 2]})])
    assert len(load(make.root)[0].annotations) == 1


@pytest.mark.parametrize(
    ("train", "val", "warned"),
    [
        ([(0, "disc"), (1, "disc")], [(0, "disc"), (1, "disc")], False),
        ([(0, "disc"), (1, "disc")], [(1, "disc")], False),
        ([(0, "disc"), (1, "bar")], [(1, "disc"), (0, "bar")], True),
        ([(0, "disc"), (1, "disc")], [(2, "disc")], True),
    ],
)
def test_equal_lists_of_categories_are_in_the_same_order(make, load, train, val, warned):
    for split, listed in (("train", train), ("valid", val)):
        make.image(f"{split}/{split}.jpg")
        categories = [{"id": i, "name": name} for i, name in listed]
        box = (0, 0, BOX, {"category_id": listed[-1][0]})
        make.coco(f"{split}/_annotations.coco.json", [f"{split}.jpg"], [box], categories=categories)
    assert ("category-order" in load(make.root)[1]) == warned
