"""Who validates: names, a CSV, or a draw that is the same each time and hardly moves when images are added."""

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.detection import prepare_detection
from densekit.datasets.shared.folds import Fold
from densekit.datasets.shared.image_splits import draw, split_of
from densekit.datasets.shared.split_file import SPLIT_FILE, Splits
from densekit.errors import DataError


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017", "train"),
        ("valid", "val"),
        ("VAL", "val"),
        ("stage1_test", "test"),
        ("held_out", "test"),
        ("trainval", "train"),
        ("images/val/part3", "val"),
        ("instances_default", None),
        ("train_and_val", None),
        ("trains", None),
        ("latest", None),
    ],
)
def test_split_of_names(name, split):
    assert split_of(name) == split


def test_a_draw_is_a_fifth_the_same_again_and_stable():
    files = [f"{n}.jpg" for n in range(100)]
    first = draw(files, seed=0)
    assert len(first) == 20
    assert draw(files[::-1], seed=0) == first
    assert draw(files, seed=1) != first
    grown = draw([*files, *(f"new{n}.jpg" for n in range(10))], seed=0)
    assert len(grown & first) >= 16


def test_copies_of_one_image_stay_together():
    files = [f"{n}_jpg.rf.{copy}.jpg" for n in range(10) for copy in "abc"]
    chosen = draw(files, seed=0)
    assert len(chosen) == 6
    assert len({file.split(".rf.")[0] for file in chosen}) == 2


def test_a_single_image_is_trained_on():
    assert draw(["only.jpg"], seed=0) == set()


def flat(make, names):
    for name in names:
        make.image(f"{name}.jpg")
        make.xml(f"{name}.xml", [("cat", (2, 2, 12, 14))])


@pytest.mark.parametrize("column", ["image", "image_id", "filename"])
def test_a_csv_assigns_the_splits(make, load, column):
    flat(make, "abcd")
    make.text("splits_suggested.csv", f"{column},split\na,train\nb.jpg,validation\nc,held_out\n")
    dataset, found = load(make.root)
    assert [(image.file, image.split) for image in dataset.images] == [
        ("a.jpg", "train"),
        ("b.jpg", "val"),
        ("c.jpg", "test"),
    ]
    assert found["image-without-annotation"].examples[0].where == "d.jpg: not in splits_suggested.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_may_have_a_byte_order_mark(make, load, encoding):
    flat(make, "äb")
    make.text("splits.csv", "").write_text("image,split\nä,train\nb,val\n", encoding=encoding)
    dataset, _ = load(make.root)
    assert {image.file: image.split for image in dataset.images} == {"ä.jpg": "train", "b.jpg": "val"}


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_csv_in_another_encoding_is_refused(make, load, encoding):
    flat(make, "äb")
    make.text("splits.csv", "").write_text("image,split\nä,train\nb,val\n", encoding=encoding)
    with pytest.raises(DataError, match=r"splits.csv: is no CSV file in UTF-8 \(.*\); save it as CSV UTF-8$"):
        load(make.root)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\nx,y\n", "line 1: the header is a, b; expected a column split"),
        ("image,split\na,first\n", "line 2: split 'first'"),
        ("image,split\na,train\na,val\n", "line 3: a is in two splits"),
        ("image,split\nx,train\n", "names none of the images"),
    ],
)
def test_a_csv_that_cannot_be_followed(make, load, text, words):
    flat(make, "ab")
    make.text("splits.csv", text)
    with pytest.raises(DataError, match=words):
        load(make.root)


def test_the_same_images_validate_as_coco_voc_and_yolo(make, load):
    names = [f"p{n}" for n in range(20)]
    for name in names:
        make.image(f"coco/images/{name}.jpg")
        make.image(f"voc/{name}.jpg")
        make.xml(f"voc/{name}.xml", [("cat", (2, 2, 12, 14))])
        make.image(f"yolo/images/{name}.jpg")
        make.text(f"yolo/labels/{name}.txt", "0 .5 .5 .2 .2\n")
    make.coco("coco/labels.json", [f"{name}.jpg" for name in names], [(0, 0, [4, 4, 10, 12])])
    make.text("yolo/classes.txt", "cat\n")
    drawn = []
    for layout in ("coco", "voc", "yolo"):
        dataset, found = load(make.root / layout)
        assert "4 of 20 images drawn" in found["split-drawn"].message
        drawn.append({dataset.path(n).stem for n, image in enumerate(dataset.images) if image.split == "val"})
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize("asked", [None, ["Red Cell", "dog"], ["dog", "red_cell"]])
def test_spellings_in_different_splits_are_one_class(make, load, asked):
    box = [5, 5, 20, 20]
    root = make.two_splits([(0, 0, box), (1, 1, box)], [(0, 0, box)], ("Red Cell", "dog"))
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace("Red Cell", "red_cell"))
    dataset, found = load(root, classes=asked)
    assert dataset.classes == tuple(asked or ["Red Cell", "dog"])
    cell = 1 if asked and asked[1] == "red_cell" else 0
    assert dataset.annotations.labels.tolist() == [cell, 1 - cell, cell]
    if cell:
        return
    assert found["class-spelling"].severity == "note"
    assert found["class-spelling"].examples[0].where == "'red_cell' in val is 'Red Cell'"


def test_spellings_in_one_split_or_asked_for_stay_two(make, load):
    box = [5, 5, 20, 20]
    root = make.two_splits([(0, 0, box), (1, 1, box)], [(0, 1, box)], ("Car", "car"))
    assert load(root)[0].classes == ("Car", "car")
    root = make.two_splits([(0, 0, box)], [(0, 1, box)], ("Car", "car"))
    assert load(root, classes=["Car", "car"])[0].classes == ("Car", "car")
    assert load(root)[0].classes == ("Car",)


# --- folds ------------------------------------------------------------------------------------------------------------
def coco(make):
    return make.two_splits([(n, n % 2, [4, 4, 10, 12]) for n in range(3)], [(0, 0, [4, 4, 10, 12])])


def voc(make):
    flat(make, "abcdef")
    return make.root


def yolo(make):
    for name in "abcdef":
        make.image(f"images/{name}.jpg")
        make.text(f"labels/{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    make.text("data.yaml", "names: [cat]\ntrain: images\n")
    return make.root


def masks(make):
    for name in "abcdef":
        make.image(f"{name}/images/{name}.png")
        mask = np.zeros((48, 64), np.uint8)
        mask[4:20, 4:20] = 255
        (make.root / name / "masks").mkdir()
        Image.fromarray(mask).save(make.root / name / "masks" / "1.png")
    return make.root


@pytest.mark.parametrize("layout", [coco, voc, yolo, masks])
def test_folds_are_made_of_every_layout(make, load, layout):
    root = layout(make)
    plain, _ = load(root)
    validated = []
    for index in range(3):
        dataset, _ = load(root, fold=Fold(3, index))
        val = [image.file for image in dataset.images if image.split == "val"]
        assert len(dataset.images) == len(plain.images) and val
        assert f"fold {index} of 3 (from 0): {len(val)} of {len(plain.images)} images validate" in "".join(
            finding.message for finding in dataset.findings
        )
        assert dataset.fingerprint != plain.fingerprint
        validated += val
    assert sorted(validated) == sorted(image.file for image in plain.images)
    before = sorted(path for path in root.rglob("*"))
    data = prepare_detection(root, fold=Fold(3, 1), cache=make.root.parent / "cache")
    written = Splits.read(data.annotations["val"].with_name(SPLIT_FILE))
    assert len(written.folds) == 3 and data.counts["val"]["images"] == len(written.folds[1]["val"])
    assert sorted(path for path in root.rglob("*")) == before  # nothing among the user's data


def test_images_to_test_are_in_no_fold(make, load):
    flat(make, "abcdefg")
    make.text("splits.csv", "image,split\n" + "".join(f"{n},{'test' if n == 'c' else 'val'}\n" for n in "abcdefg"))
    dataset, _ = load(make.root, fold=Fold(2, 0))
    assert [image.file for image in dataset.images if image.split == "test"] == ["c.jpg"]
    assert not any("c.jpg" in fold["train"] + fold["val"] for fold in dataset.folds.folds)
    assert dataset.folds.splits == {"test": ["c.jpg"]}
