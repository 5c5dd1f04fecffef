"""What is worth a look in label images, and that sound ones are left in peace."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from densekit.datasets.segmentation import inspect_segmentation
from tests.datasets.segmentation.conftest import Maker

FITTING = {"input_size": (160, 120), "crop": (96, 96)}
SILENT = {"layout", "split-drawn"}


@pytest.fixture
def check(tmp_path):
    """Findings of a data set by code, after what ``write`` does with a :class:`Maker`."""

    def checked(write, **more):
        maker = Maker(tmp_path / "data")
        write(maker)
        inspection = inspect_segmentation(maker.root, cache=tmp_path / "cache", **{**FITTING, **more})
        return {finding.code: finding for finding in inspection.findings}, inspection

    return checked


def sound(maker, **more):
    maker.scenes(6, folder="train/", **more)
    maker.scenes(3, folder="val/", first=6, **more)


def test_sound_data_are_left_in_peace(check):
    found, inspection = check(sound)
    assert set(found) <= SILENT and inspection.status == 0
    assert inspection.summary["judged"] == 9 and not inspection.likely


# --- leaks ----------------------------------------------------------------------------------------------------------
def test_the_same_image_in_two_splits_is_a_leak(check):
    def write(maker):
        sound(maker)
        shutil.copy(maker.root / "train/images/0.png", maker.root / "val/images/6.png")
        shutil.copy(maker.root / "train/masks/0.png", maker.root / "val/masks/6.png")

    found, _ = check(write)
    assert "in two splits, byte for byte" in found["split-overlap"].message
    assert found["split-overlap"].examples[0].where == "train: train/images/0.png = val: val/images/6.png"


def test_an_image_saved_anew_in_another_split_is_a_leak(check):
    def write(maker):
        sound(maker)
        with Image.open(maker.root / "train/images/1.png") as image:
            image.resize((170, 128)).resize((160, 120)).save(maker.root / "val/images/6.png")
        shutil.copy(maker.root / "train/masks/1.png", maker.root / "val/masks/6.png")

    found, _ = check(write)
    assert "look the same in two splits" in found["split-similar"].message
    assert "train: train/images/1.png ~ val: val/images/6.png" in found["split-similar"].examples[0].where


# --- classes --------------------------------------------------------------------------------------------------------
def test_classes_that_a_split_lacks_are_named(check):
    def write(maker):
        maker.scenes(6, folder="train/", done=lambda labels: np.where(labels == 2, 0, labels))
        maker.scenes(3, folder="val/", first=6, done=lambda labels: np.where(labels == 1, 0, labels))

    found, _ = check(write, classes=["ground", "tree", "car"])
    assert [e.where for e in found["class-not-in-train"].examples] == ["car"]
    assert "they cannot be learned" in found["class-not-in-train"].message
    assert [e.where for e in found["class-not-in-val"].examples] == ["tree"]
    assert "they get no score" in found["class-not-in-val"].message


def test_a_class_in_few_images_and_few_pixels_is_told_with_its_share(check):
    def write(maker):
        sound(maker)
        for folder, name in (("train", "0"), ("val", "6")):
            path = maker.root / folder / "masks" / f"{name}.png"
            labels = np.array(Image.open(path))
            labels[:5, :10] = 3
            Image.fromarray(labels).save(path)

    found, _ = check(write)
    assert [e.where for e in found["class-few-images"].examples] == ["3: 1"]
    assert [e.where for e in found["class-rare"].examples] == ["3: 0.043 %"]
    assert found["class-rare"].severity == "note"


def test_data_without_training_images_can_be_scored(check):
    found, _ = check(lambda maker: maker.scenes(3, folder="val/"))
    assert found["only-scored"].message == "holds only val: it can be scored, not trained on"


# --- sizes ----------------------------------------------------------------------------------------------------------
def test_sizes_that_do_not_go_with_the_scale_of_the_training(check):
    found, _ = check(sound, input_size=(2048, 512), crop=(512, 512))
    assert "more than twice as large for training (fitted into 2048 x 512)" in found["image-enlarged"].message
    assert "160 x 120, x 4.3" in found["image-enlarged"].examples[0].where and "image-below-crop" not in found
    found, _ = check(lambda maker: None, input_size=(36, 24), crop=(24, 24))
    assert "more than 4 times smaller" in found["image-shrunk"].message and found["image-shrunk"].count == 9
    found, _ = check(lambda maker: None, crop=(128, 128))
    assert "do not fill a crop of 128 x 128" in found["image-below-crop"].message


def test_images_of_different_kinds_are_counted(check):
    def write(maker):
        sound(maker)
        with Image.open(maker.root / "train/images/0.png") as image:
            image.convert("L").save(maker.root / "train/images/0.png")

    found, _ = check(write)
    assert "8 RGB, 1 L" in found["image-modes"].message


# --- masks off their image ------------------------------------------------------------------------------------------
def shifted(labels):
    return np.roll(labels, (4, 8), (0, 1))


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (shifted, "it fits if moved 8 px left and 4 px up"),
        (lambda labels: labels[:, ::-1], "it fits if mirrored left to right"),
        (lambda labels: labels[::-1, ::-1], "it fits if turned by 180 degrees"),
    ],
)
def test_masks_that_lie_elsewhere_are_an_error(check, done, words):
    def write(maker):
        maker.scenes(3, folder="train/", done=done)
        maker.scenes(3, folder="train/", first=3)
        maker.scenes(3, folder="val/", first=6)

    found, inspection = check(write)
    assert inspection.status == 2 and found["mask-shifted"].count == 3
    assert found["mask-shifted"].message == "masks do not lie on their image, of 9 that can be judged"
    assert {e.where for e in found["mask-shifted"].examples} == {f"train/images/{n}.png: {words}" for n in range(3)}
    assert set(inspection.likely) == {str(inspection.data.root / f"train/images/{n}.png") for n in range(3)}


def test_images_of_many_channels_are_judged_too(check):
    found, inspection = check(lambda maker: maker.scenes(4, done=lambda labels: labels[:, ::-1], channels=5))
    assert inspection.data.channels == 5 and found["mask-shifted"].count == 4


def test_a_single_one_is_a_warning(check):
    def write(maker):
        maker.scenes(1, folder="train/", done=shifted)
        maker.scenes(7, folder="train/", first=1)

    found, inspection = check(write)
    assert found["mask-doubtful"].count == 1 and inspection.status == 0


def test_masks_drawn_too_wide_are_doubtful_but_not_shifted(check):
    def wide(labels):
        return cv2.dilate(labels, np.ones((9, 9), np.uint8))

    found, inspection = check(lambda maker: sound(maker, done=wide))
    assert "too wide or too narrow" in found["mask-doubtful"].message and found["mask-doubtful"].count > 3
    assert "mask-shifted" not in found and inspection.status == 0


# --- thin -----------------------------------------------------------------------------------------------------------
def test_a_class_of_lines_vanishes_at_the_scale_of_the_training(check):
    def lined(labels):
        labels[60:62, :] = 3
        return labels

    found, _ = check(lambda maker: sound(maker, done=lined))
    assert "thin-objects" not in found
    found, _ = check(lambda maker: None, input_size=(80, 60), crop=(48, 48))
    message = "classes of which more than 10% is narrower than 2 pixels in images fitted into 80 x 60"
    assert found["thin-objects"].message == message
    example = found["thin-objects"].examples[0]
    assert example.where.startswith("3: 100% of its pixels, 9 of 9 areas, e.g. ")
    assert example.boxes == ((0, 60, 160, 62),)


def test_specks_are_told_apart_from_thin_objects(check):
    def speckled(labels):
        labels[2::12, 3::12] = (labels[2::12, 3::12] + 1) % 3
        return labels

    found, _ = check(lambda maker: sound(maker, done=speckled))
    assert "specks, by number" in found["specks"].message and "thin-objects" not in found
