"""YOLO labels: data.yaml in its variants, boxes and polygons, and each kind of broken row with file and line."""

import pytest
from PIL import Image

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
        ("0 120 80 30 20", "row-malformed", "values outside 0 to 1, in pixels?"),
        ("0 50 50 20 100", "row-malformed", "values outside 0 to 1, in percent or pixels?"),
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


# --- labels and images where they lie --------------------------------------------------------------------------------

ROW = "0 .5 .5 .2 .2\n"


@pytest.mark.parametrize("above", ["", "images/", "images/deep/", "x/images/images/"])
@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}/a{}.jpg", "{}/a{}.txt"),
        ("images/{}/a{}.jpg", "labels/{}/a{}.txt"),
        ("{}/images/a{}.jpg", "{}/labels/a{}.txt"),
        ("images/{}/a{}.jpg", "images/{}/a{}.txt"),
        ("{}/images/a.b{}.jpg", "{}/images/a.b{}.txt"),
    ],
)
def test_labels_are_found_wherever_the_data_set_lies(make, load, above, image, label):
    for split in ("train", "val"):
        make.image(above + image.format(split, split))
        make.text(above + label.format(split, split), ROW)
    folder = image.rpartition("/")[0]
    make.text(f"{above}data.yaml", f"train: {folder.format('train')}\nval: {folder.format('val')}\nnames: [cat]\n")
    dataset, found = load(make.root / above)
    assert {split: dataset.counts(split)["objects"] for split in dataset.splits} == {"train": 1, "val": 1}
    assert "image-without-label" not in found


def test_a_yaml_inside_the_images_folder_still_finds_the_labels_beside_it(make, load):
    make.image("images/train/a.jpg")
    make.text("labels/train/a.txt", ROW)
    yaml = make.text("images/data.yaml", "train: train\nnames: [cat]\n")
    assert len(load(yaml)[0].annotations) == 1


def test_labels_beside_the_images_without_a_yaml(make, load):
    make.image("images/a.jpg")
    make.text("images/a.txt", ROW)
    make.text("classes.txt", "cat\n")
    assert len(load(make.root)[0].annotations) == 1


@pytest.mark.parametrize(
    "base", ["C:\\Users\\me\\ds\\images\\", "/content/ds/images/", "../ds/images/", "\\\\nas\\ds\\images\\", ""]
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=repr)
@pytest.mark.parametrize("name", ["a", "a b", "Mäuse", "a.b"])
def test_lists_of_another_machine_are_followed_by_the_end_of_their_paths(make, load, base, ending, name):
    for split in ("train", "val"):
        make.image(f"images/{name}{split}.jpg")
        make.text(f"labels/{name}{split}.txt", ROW)
        make.text(f"{split}.txt", "").write_bytes(f"{base}{name}{split}.jpg{ending}".encode())
    make.text("data.yaml", "train: train.txt\nval: val.txt\nnames: [cat]\n")
    dataset, found = load(make.root)
    assert [image.file for image in dataset.images] == [f"images/{name}{s}.jpg" for s in ("train", "val")]
    assert len(dataset.annotations) == 2
    assert "image-missing" not in found
    assert any("found by the end of their path" in f.message for f in dataset.findings if f.code == "layout")


def test_images_of_a_list_that_are_nowhere_are_missing_images(plain, load):
    plain.text("train.txt", "/content/images/train/a.jpg\n/content/images/train/gone.jpg\n")
    plain.text("data.yaml", "train: train.txt\nval: images/val\nnames: [cat, dog]\n")
    dataset, found = load(plain.root)
    assert found["image-missing"].examples[0].where.endswith("images/train/gone.jpg")
    assert len(dataset.annotations) == 3


def test_a_list_whose_names_fit_two_folders_is_an_error(make, load):
    for camera in "AB":
        pair(make, f"cam{camera}", "a", ROW)
    make.text("train.txt", "/content/a.jpg\n")
    make.text("data.yaml", "train: train.txt\nnames: [cat]\n")
    place = load(make.root)[1]["image-ambiguous"].examples[0].where
    assert place == "train.txt: /content/a.jpg is images/camA/a.jpg or images/camB/a.jpg"


def test_two_images_of_one_label_file_are_an_error_unless_they_look_alike(plain, load):
    plain.image("images/train/a.png")
    place = load(plain.root)[1]["image-ambiguous"].examples[0].where
    assert place == "labels/train/a.txt: is of images/train/a.jpg or images/train/a.png"
    with Image.open(plain.root / "images/train/a.jpg") as image:
        image.save(plain.root / "images/train/a.png")
    assert "image-ambiguous" not in load(plain.root)[1]


# --- files that cannot be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ROW.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (ROW.encode("utf-16-be").join([b"\xfe\xff", b""]), "is UTF-16 text"),
        (b"\x89PNG\r\n", "is no text in UTF-8"),
        (None, "No such file"),
        (..., "Is a directory"),
    ],
    ids=["utf-16", "big endian", "binary", "dangling link", "folder"],
)
def test_a_label_file_that_cannot_be_read_is_no_background(plain, load, content, words):
    file = plain.root / "labels/train/a.txt"
    file.unlink()
    if content is None:
        file.symlink_to("nowhere")
    elif content is ...:
        file.mkdir()
    else:
        file.write_bytes(content)
    found = load(plain.root)[1]["file-unreadable"]
    assert found.severity == "error"
    assert found.examples[0].where.startswith("labels/train/a.txt: ")
    assert words in found.examples[0].where


@pytest.mark.parametrize("name", ["data.yaml", "dataset.yml"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        ("names: [cat]".encode("utf-16"), "is UTF-16 text"),
        (b"<!DOCTYPE html>\n<p>404</p>", "expected train:"),
        (b"- cat\n- dog\n", "expected train:"),
        (b"\xff\x00", "is no text in UTF-8"),
        (b"names: [", "cannot be read as YAML"),
        (b"names: [cat]\nd: 2024-99-99", "cannot be read as YAML"),
    ],
    ids=["empty", "utf-16", "web page", "list", "binary", "cut", "no date"],
)
def test_a_yaml_that_cannot_be_read_is_not_as_if_it_were_not_there(make, load, name, content, words):
    pair(make, "train", "a", ROW)
    make.text("classes.txt", "cat\n")
    make.text(name, "").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load(make.root)


@pytest.mark.parametrize("content", ["images/val/c.jpg".encode("utf-16"), b"\xff\x00"], ids=["utf-16", "binary"])
def test_a_list_that_cannot_be_read_is_an_error(plain, load, content):
    plain.text("val.txt", "").write_bytes(content)
    plain.text("data.yaml", "train: images/train\nval: val.txt\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"val\.txt: is "):
        load(plain.root)


def test_an_empty_validation_list_is_an_error_and_none_is_drawn(plain, load):
    plain.text("val.txt", "\n")
    plain.text("data.yaml", "train: images/train\nval: val.txt\nnames: [cat, dog]\n")
    dataset, found = load(plain.root)
    assert found["split-empty"].examples[0].where == "val: val.txt"
    assert dataset.splits == ("train",)


# --- class names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["[{}, {}]", "{{0: {}, 1: {}}}", "\n- {}\n- {}", "\n  0: {}\n  1: {}"], ids=repr)
@pytest.mark.parametrize(
    "names",
    [("on", "off"), ("yes", "no"), ("1.10", "1.1"), ("null", "~"), ("0x10", "010"), ("1e3", "1_000"), ("12:30", "y"),
     ("2024-01-02", "true"), ("'on'", '"off"')],
)  # fmt: skip
def test_class_names_are_text_whatever_yaml_makes_of_them(plain, load, form, names):
    plain.text("data.yaml", f"train: images/train\nval: images/val\nnames: {form.format(*names)}\n")
    assert load(plain.root)[0].classes == tuple(name.strip("'\"") for name in names)
