"""An image has one label file: two that differ are an error, wherever they lie."""

import pytest

ROW, OTHER = "0 .5 .5 .1 .1\n", "0 .4 .4 .1 .1\n"
IMAGE, LABEL = "images/train/a.jpg", "labels/train/a.txt"


@pytest.fixture
def set_of(make, load):
    """Writes images and label files, and returns where images have two labels."""

    def found(labels, images=(IMAGE,), yaml=""):
        for name in (*images, IMAGE.replace("images", "photos")):
            make.image(name)
        for name, text in labels.items():
            make.text(name, text)
        make.text("data.yaml", yaml or f"train: {images[0].rpartition('/')[0] or '.'}\nnames: [cat]\n")
        finding = load(make.root)[1].get("image-ambiguous")
        return [example.where for example in finding.examples] if finding else []

    return found


PLACES = [  # image, its label file, and others that are as good
    (IMAGE, LABEL, ["images/train/a.txt", "labels/a.txt"]),
    ("images/a.jpg", "labels/a.txt", ["images/a.txt", "labels/train/a.txt", "a.txt"]),
    ("train/images/a.jpg", "train/labels/a.txt", ["train/images/a.txt", "labels/train/a.txt", "labels/a.txt"]),
    ("train/a.jpg", "train/a.txt", ["labels/train/a.txt", "labels/a.txt", "train/labels/a.txt"]),
    ("images/camA/a.jpg", "labels/camA/a.txt", ["images/camA/a.txt", "labels/train/camA/a.txt"]),
]
TWO = [(image, label, other) for image, label, others in PLACES for other in others]


@pytest.mark.parametrize(("image", "label", "other"), TWO)
def test_two_label_files_that_differ_are_an_error_that_names_both(set_of, image, label, other):
    assert set_of({label: ROW, other: OTHER}, [image]) == [f"{image}: {label} or {other}"]


@pytest.mark.parametrize(("image", "label", "other"), TWO)
def test_two_that_say_the_same_are_none(set_of, image, label, other):
    assert set_of({label: OTHER + ROW, other: "\n0 0.5 0.5 0.10 0.1\n" + OTHER}, [image]) == []


@pytest.mark.parametrize("listed", ["images/train/a.jpg", "./images/train/a.jpg", "/content/images/train/a.jpg"])
def test_images_of_a_list_are_no_exception(set_of, make, listed):
    make.text("train.txt", f"{listed}\n")
    assert len(set_of({LABEL: ROW, "labels/a.txt": OTHER}, yaml="train: train.txt\nnames: [cat]\n")) == 1


@pytest.mark.parametrize(
    ("labels", "images"),
    [
        ({LABEL: ROW, "labels/a.txt": OTHER}, [IMAGE, "images/a.jpg"]),
        ({LABEL: ROW, "labels/val/a.txt": OTHER}, [IMAGE, "images/val/a.jpg"]),
        ({LABEL: ROW, "labels/val/a.txt": OTHER}, [IMAGE]),
        ({LABEL: ROW, "labels/old/a.txt": OTHER}, [IMAGE]),
        ({"labels/camA/a.txt": ROW, "labels/camB/a.txt": OTHER}, ["images/camA/a.jpg", "images/camB/a.jpg"]),
        ({LABEL: ROW, "images/train/a.txt": "a cat on a roof"}, [IMAGE]),
        ({LABEL: ROW, "captions/a.txt": "1 cat"}, [IMAGE]),
    ],
    ids=["another image", "another split", "an orphan of another split", "a backup", "two cameras", "a caption",
         "another folder"],
)  # fmt: skip
def test_what_is_no_label_of_this_image_is_left_alone(set_of, labels, images):
    assert set_of(labels, images) == []
