"""YOLO labels: data.yaml in its variants, boxes and polygons, and each kind of broken row with file and line."""

import pytest

from densekit.errors import DataError


def pair(make, split, stem, rows, layout="images/{}"):
    make.image(f"{layout.format(split)}/{stem}.jpg")
    if rows is not None:
        make.text(f"{layout.format(split).replace('images', 'labels')}/{stem}.txt", rows)


@pytest.fixture
def plain(make):
    pair(make, "train", "a", "0 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.5 0.5\n")
    pair(make, "train", "b", "")
    pair(make, "val", "c", "1 0.5 0.5 1 1\n")
    make.text("data.yaml", "train: images/train\nval: images/val\nnc: 2\nnames: ['cat', 'dog']\n")
    return make


def test_fractions_become_pixels_of_each_image(plain, load, boxes_of):
    dataset, found = load(plain.root)
    assert dataset.classes == ("cat", "dog")
    assert boxes_of(dataset) == [
        ("images/train/a.jpg", "cat", [24, 12, 16, 24]),
        ("images/train/a.jpg", "dog", [0, 0, 32, 24]),
        ("images/val/c.jpg", "dog", [0, 0, 64, 48]),
    ]
    assert found["background"].count == 1
    assert "size-missing" not in found


def test_polygons_are_outlines_and_may_stand_between_boxes(plain, load):
    plain.text("labels/train/a.txt", "0 0.25 0.25 0.75 0.25 0.75 0.75\n1 0.5 0.5 0.5 0.5\n")
    dataset, found = load(plain.root)
    first, second = dataset.annotations.masks[:2]
    assert first == [[16, 12, 48, 12, 48, 36]]
    assert second is None
    assert dataset.annotations.xywh[0].tolist() == [16, 12, 32, 24]
    assert dataset.annotations.areas[0] == 32 * 24 / 2
    assert found["outline-missing"].count == 2


def test_pose_rows_give_their_box(plain, load, boxes_of):
    plain.text("data.yaml", "train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\nkpt_shape: [2, 3]\n")
    plain.text("labels/train/a.txt", "0 0.5 0.5 0.25 0.5 0.1 0.1 2 0.2 0.2 1\n")
    assert boxes_of(load(plain.root)[0])[0] == ("images/train/a.jpg", "cat", [24, 12, 16, 24])


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ("2 0.5 0.5 0.1 0.1", "category-unknown", "class 2, but data.yaml names the classes 0 to 1"),
        ("0 0.5 0.5 0.1", "row-malformed", "4 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "row-malformed", "6 numbers"),
        ("0 0.5 1.5 0.1 0.1", "row-malformed", "values outside 0 to 1"),
        ("0 120 80 30 20", "row-malformed", "values outside 0 to 1"),
        ("cat 0.5 0.5 0.1 0.1", "row-malformed", "is not a row of numbers"),
        ("0.5 0.5 0.5 0.1 0.1", "row-malformed", "5 numbers"),
        ("0 nan 0.5 0.1 0.1", "row-malformed", "values outside 0 to 1"),
    ],
)
def test_a_broken_row_is_an_error_with_file_and_line(plain, load, row, code, words):
    plain.text("labels/train/a.txt", f"0 0.5 0.5 0.2 0.2\n\n{row}\n")
    dataset, found = load(plain.root)
    assert found[code].severity == "error"
    assert found[code].examples[0].where.startswith("labels/train/a.txt, line 3: ")
    assert words in found[code].examples[0].where
    assert len(dataset.annotations) == 2


def test_images_without_labels_and_labels_without_images_are_counted(plain, load):
    pair(plain, "train", "d", None)
    plain.text("labels/train/ghost.txt", "0 .5 .5 .1 .1\n")
    dataset, found = load(plain.root)
    assert found["image-without-label"].examples[0].where == "images/train/d.jpg"
    assert found["annotation-without-image"].examples[0].where == "labels/train/ghost.txt"
    assert dataset.counts("train") == {"images": 3, "background": 2, "objects": 2}


def test_paths_as_roboflow_and_ultralytics_write_them(make, load):
    pair(make, "train", "a", "0 .5 .5 .1 .1\n", "{}/images")
    pair(make, "valid", "b", "0 .5 .5 .1 .1\n", "{}/images")
    make.text("data.yaml", "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat]\n")
    dataset, found = load(make.root)
    assert dataset.splits == ("train", "val")
    assert "test: ../test/images" in found["layout"].message


def test_path_lists_and_a_root_that_is_elsewhere(make, load):
    pair(make, "train", "a", "0 .5 .5 .1 .1\n")
    pair(make, "train", "b", "0 .5 .5 .1 .1\n")
    make.text("train.txt", "./images/train/a.jpg\n")
    make.text("val.txt", "images/train/b.jpg\n")
    make.text("data.yaml", "path: /nowhere/coco8\ntrain: [train.txt]\nval: val.txt\nnames: {0: cat}\n")
    dataset, found = load(make.root)
    assert [(image.file, image.split) for image in dataset.images] == [
        ("images/train/a.jpg", "train"),
        ("images/train/b.jpg", "val"),
    ]
    assert "path: /nowhere/coco8" in found["layout"].message


def test_images_outside_the_yamls_folder(make, load, tmp_path):
    pair(make, "train", "a", "0 .5 .5 .1 .1\n")
    pair(make, "val", "b", "0 .5 .5 .1 .1\n")
    yaml = tmp_path / "configs" / "mine.yaml"
    yaml.parent.mkdir()
    yaml.write_text(f"path: {make.root}\ntrain: images/train\nval: images/val\nnames: [cat]\n")
    dataset, _ = load(yaml)
    assert dataset.root == make.root
    assert dataset.path(0).is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: images/train\nval: images/nope\nnames: [cat]", "val: images/nope is neither"),
        ("train: images/train\nnc: 3\nnames: [cat]", "nc: 3, but there are 1 names"),
        ("train: images/train\nnames: [cat, cat]", "'cat' is the name of two numbers"),
        ("train: images/train\nnames: cat", "expected a list of names"),
        ("train: [", "cannot be read as YAML"),
    ],
)
def test_a_yaml_that_cannot_be_followed(make, load, text, words):
    pair(make, "train", "a", "0 .5 .5 .1 .1\n")
    make.text("data.yaml", text)
    with pytest.raises(DataError, match=words):
        load(make.root)


def test_without_names_the_remedy_is_said(make, load):
    pair(make, "train", "a", "0 .5 .5 .1 .1\n")
    with pytest.raises(DataError, match=r"no file names the classes .* write data\.yaml"):
        load(make.root)


def test_labels_in_another_place_are_noticed(plain, load):
    for file in (plain.root / "labels").rglob("*.txt"):
        file.unlink()
    with pytest.raises(DataError, match=r"none of the 3 images has a label file; expected labels/train/a\.txt"):
        load(plain.root)


def test_label_studios_notes_name_the_classes(make, load):
    make.image("images/a.jpg")
    make.text("labels/a.txt", "1 .5 .5 .1 .1\n")
    make.text("notes.json", '{"categories": [{"id": 1, "name": "dog"}, {"id": 0, "name": "cat"}], "info": {}}')
    dataset, _ = load(make.root)
    assert dataset.classes == ("cat", "dog")
    assert dataset.annotations.labels.tolist() == [1]
