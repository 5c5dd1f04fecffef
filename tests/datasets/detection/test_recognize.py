"""The layout is found out from what lies there; when nothing or too much lies there, the message says what to do."""

import json

import pytest

from densekit.datasets.detection import recognize
from densekit.datasets.volume.recognize import holds_volumes
from densekit.errors import ConfigError, DataError

BOX = [4, 4, 10, 10]


def parts(source):
    return [(part.split, source.relative(part.path)) for part in source.parts]


def test_cocos_own_layout(make):
    root = make.two_splits([(0, 0, BOX)], [(0, 1, BOX)])
    make.coco("annotations/person_keypoints_train2017.json", ["1.jpg"], [])
    make.text("annotations/captions_train2017.json", json.dumps({"images": [], "annotations": []}))
    source = recognize(root)
    assert source.format == "coco"
    assert parts(source) == [
        ("train", "annotations/instances_train2017.json"),
        ("val", "annotations/instances_val2017.json"),
    ]
    assert "annotations/instances_train2017.json (train)" in source.layout


@pytest.mark.parametrize("name", ["result.json", "annotations/instances_default.json"])
def test_one_export_beside_an_images_folder(make, name):
    make.image("images/1.jpg")
    make.coco(name, ["1.jpg"], [(0, 0, BOX)])
    source = recognize(make.root)
    assert (source.format, parts(source)) == ("coco", [(None, name)])


def test_roboflow_coco_folders(make):
    for split in ("train", "valid", "test"):
        make.image(f"{split}/a_{split}.jpg")
        make.coco(f"{split}/_annotations.coco.json", [f"a_{split}.jpg"], [(0, 0, BOX)])
    assert [split for split, _ in parts(recognize(make.root))] == ["test", "train", "val"]


def test_one_json_brings_the_other_split_with_it(make):
    root = make.two_splits([(0, 0, BOX)], [(0, 1, BOX)])
    make.coco("annotations/instances_train2014.json", ["1.jpg"], [])
    source = recognize(root / "annotations" / "instances_train2017.json")
    assert source.root == root
    assert [split for split, _ in parts(source)] == ["train", "val"]
    with pytest.raises(DataError, match=r"2 COCO files for train .*instances_train2014.json.*give the path"):
        recognize(root)


def test_a_json_without_a_split_in_its_name_is_left_aside_and_said(make):
    root = make.two_splits([(0, 0, BOX)], [(0, 1, BOX)])
    make.coco("annotations/instances_all.json", ["1.jpg"], [])
    source = recognize(root)
    assert len(source.parts) == 2
    assert "instances_all.json" in source.notes[0]


@pytest.mark.parametrize("layout", ["images/{}", "{}/images"])
def test_yolo_with_data_yaml(make, layout):
    for split in ("train", "val"):
        make.image(f"{layout.format(split)}/{split}.jpg")
        make.text(f"{layout.format(split).replace('images', 'labels')}/{split}.txt", "0 .5 .5 .2 .2\n")
    make.text("data.yaml", f"train: {layout.format('train')}\nval: {layout.format('val')}\nnames: [cat]\n")
    source = recognize(make.root)
    assert source.format == "yolo"
    assert parts(source) == [("train", layout.format("train")), ("val", layout.format("val"))]
    assert source == recognize(make.root / "data.yaml")


@pytest.mark.parametrize(
    ("image", "label"),
    [("images/train/a", "labels/train/a"), ("train/images/a", "train/labels/a"), ("images/a", "labels/a"), ("a", "a")],
)
def test_yolo_folders_with_a_list_of_names(make, image, label):
    make.image(f"{image}.jpg")
    make.text(f"{label}.txt", "0 .5 .5 .2 .2\n")
    make.text("classes.txt", "cat\ndog\n")
    source = recognize(make.root)
    assert source.format == "yolo"
    assert dict(source.class_names) == {0: "cat", 1: "dog"}


@pytest.mark.parametrize("kit", ["", "VOC2007/", "VOCdevkit/VOC2012/"])
def test_voc_devkit(make, kit):
    make.image(f"{kit}JPEGImages/a.jpg")
    make.xml(f"{kit}Annotations/a.xml", [("cat", (1, 1, 20, 20))])
    make.text(f"{kit}ImageSets/Main/train.txt", "a\n")
    make.text(f"{kit}ImageSets/Main/cat_train.txt", "a 1\n")
    source = recognize(make.root)
    assert source.format == "voc"
    assert [part.split for part in source.parts] == ["train"]


def test_voc_xml_beside_the_images(make):
    make.image("a.jpg")
    make.xml("a.xml", [("cat", (1, 1, 20, 20))])
    assert recognize(make.root).format == "voc"


def test_mask_folders(make):
    make.image("x/images/x.png")
    make.image("x/masks/1.png", mode="1")
    assert recognize(make.root).format == "masks"


def test_a_folder_in_a_folder_is_looked_through(make):
    make.image("unpacked/deeper/a.jpg")
    make.xml("unpacked/deeper/a.xml", [("cat", (1, 1, 20, 20))])
    make.text("__MACOSX/x.txt", "")
    assert recognize(make.root).root == make.root / "unpacked" / "deeper"


def test_nothing_there_says_what_was_looked_for_and_what_is_there(make):
    make.text("notes.md", "")
    make.image("photos/a.jpg")
    with pytest.raises(DataError) as error:
        recognize(make.root)
    for words in ("COCO", "data.yaml", "Pascal VOC", "masks", "notes.md", "photos/"):
        assert words in str(error.value)
    with pytest.raises(DataError, match="no such file or folder"):
        recognize(make.root / "nowhere")


def test_semantic_masks_are_not_instance_masks(make):
    for name in ("1", "2"):
        make.image(f"tile/images/{name}.png")
        make.image(f"tile/masks/{name}.png")
    with pytest.raises(DataError, match="semantic masks"):
        recognize(make.root)


def test_two_layouts_at_once_are_refused_until_one_is_named(make):
    root = make.two_splits([(0, 0, BOX)], [(0, 1, BOX)])
    make.text("labels/train2017/1.txt", "0 .5 .5 .1 .1\n")
    make.image("images/train2017/1.jpg")
    make.text("data.yaml", "train: images/train2017\nval: images/train2017\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"more than one way .*COCO.*YOLO.* data\.yaml"):
        recognize(root)
    assert recognize(root, format="yolo").format == "yolo"
    assert recognize(root / "data.yaml").format == "yolo"
    with pytest.raises(ConfigError, match="expected one of coco, yolo, voc, masks"):
        recognize(root, format="csv")


def test_files_that_are_no_data_set(make):
    for name, words in (("d.zip", "unpack it"), ("d.json", "neither a COCO JSON"), ("d.yaml", "nor a data.yaml")):
        with pytest.raises(DataError, match=words):
            recognize(make.text(name, "{}"))


@pytest.mark.parametrize("name", ["dataset.json", "case.json", "fingerprint.json", "plans.json", "splits.json"])
@pytest.mark.parametrize("images", ["images/1.jpg", "1.jpg"])
def test_what_a_json_holds_decides_not_its_name(make, name, images):
    make.image(images)
    make.coco(name, ["1.jpg"], [(0, 0, BOX)])
    assert (recognize(make.root).format, holds_volumes(make.root)) == ("coco", False)
    assert recognize(make.root / name).format == "coco"
