"""What is worth a look is found, with figures; a sound data set stays quiet."""

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.detection import inspect_detection
from densekit.datasets.shared.image_files import read_headers


def inspect(root, **options):
    inspection = inspect_detection(root, cache=None, **options)
    return inspection, {finding.code: finding for finding in inspection.findings}


def grid(count, size=8):
    """Boxes beside each other that no check takes offence at."""
    return [[1 + 10 * (n % 6), 1 + 10 * (n // 6), size, size] for n in range(count)]


@pytest.fixture
def sound(make):
    """Six images to train on and two to validate, two classes, twelve objects of each in training."""
    names = [f"{n}.jpg" for n in range(8)]
    for n, name in enumerate(names):
        make.image(f"{'train' if n < 6 else 'val'}2017/{name}")
    train = [(n, n % 2, box) for n in range(6) for box in grid(4)]
    make.coco("annotations/instances_train2017.json", names[:6], train, ("thing", "widget"))
    make.coco(
        "annotations/instances_val2017.json", names[6:], [(0, 0, grid(1)[0]), (1, 1, grid(1)[0])], ("thing", "widget")
    )
    return make


def test_a_sound_data_set_is_quiet(sound):
    inspection, found = inspect(sound.root)
    assert (found, inspection.status) == ({}, 0)


def test_the_same_file_in_two_splits(sound):
    data = (sound.root / "train2017" / "2.jpg").read_bytes()
    (sound.root / "val2017" / "7.jpg").write_bytes(data)
    inspection, found = inspect(sound.root)
    assert found["split-overlap"].examples[0].where == "train: train2017/2.jpg = val: val2017/7.jpg"
    assert "split-similar" not in found
    assert inspection.status == 0


def test_the_same_image_saved_again(sound):
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((64, 48), Image.Resampling.NEAREST)
    image.save(sound.root / "train2017" / "2.jpg", quality=95)
    brighter = image.point(lambda v: 20 + v * 0.7)
    brighter.save(sound.root / "val2017" / "7.jpg", quality=60)
    _, found = inspect(sound.root)
    assert "split-overlap" not in found
    assert found["split-similar"].examples[0].where.startswith("train: train2017/2.jpg ~ val: val2017/7.jpg (r ")


def test_too_many_pixels_to_compare_is_said(sound, monkeypatch):
    monkeypatch.setattr("densekit.datasets.shared.similar.PIXELS", 1000)
    _, found = inspect(sound.root)
    assert "only exact copies" in found["layout"].message


def test_copies_within_a_split(sound):
    (sound.root / "train2017" / "3.jpg").write_bytes((sound.root / "train2017" / "1.jpg").read_bytes())
    _, found = inspect(sound.root)
    assert found["image-duplicate"].count == 1


def test_kinds_of_images(sound):
    sound.image("train2017/0.jpg", mode="L")
    depth = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)
    Image.fromarray(depth).save(sound.root / "train2017" / "1.jpg", format="png")
    whole = (sound.root / "train2017" / "2.jpg").read_bytes()
    (sound.root / "train2017" / "2.jpg").write_bytes(whole[:-200])
    _, found = inspect(sound.root)
    assert "6 colour, 1 grey" in found["image-modes"].message
    assert found["image-16bit"].examples[0].where == "train2017/1.jpg: I;16"
    assert found["image-truncated"].examples[0].where == "train2017/2.jpg"


def test_an_image_with_something_behind_it_is_whole(sound):
    """Phones append a film to a photograph; its end mark is then far from the file's end."""
    path = sound.root / "train2017" / "1.jpg"
    path.write_bytes(path.read_bytes() + bytes(10_000))
    inspection, found = inspect(sound.root)
    assert (found, inspection.status) == ({}, 0)


def test_an_ordinary_image_is_not_decoded_to_see_that_it_is_whole(make, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    paths = [str(make.image(name)) for name in ("a.jpg", "b.png", "c.bmp")]
    assert all(header.whole for header in read_headers(paths))


def test_turned_images_are_shown_with_their_boxes(sound):
    exif = Image.Exif()
    exif[0x0112] = 3
    sound.image("train2017/0.jpg", exif=exif)
    _, found = inspect(sound.root)
    assert found["image-exif"].count == 1
    assert len(found["image-exif"].examples[0].boxes) == 4


def test_classes_that_cannot_be_learned_or_scored(make):
    root = make.two_splits(
        [(0, 0, box) for box in grid(12)] + [(1, 1, grid(1)[0])],
        [(0, 2, grid(1)[0])],
        ("thing", "widget", "lever", "bolt"),
    )
    _, found = inspect(root)
    assert [example.where for example in found["class-unused"].examples] == ["bolt"]
    assert [example.where for example in found["class-not-in-train"].examples] == ["lever"]
    assert [example.where for example in found["class-rare"].examples] == ["widget: 1"]
    assert [example.where for example in found["class-not-in-val"].examples] == ["thing", "widget"]
    assert {f.severity for f in found.values()} <= {"warning", "note"}


def test_no_objects_or_images_to_train_on(make):
    root = make.two_splits([], [(0, 0, grid(1)[0])])
    inspection, found = inspect(root)
    assert (found["no-objects"].severity, inspection.status) == ("error", 2)


@pytest.mark.parametrize("gone, left", [("train", "val"), ("val", "train")])
def test_what_has_no_training_images_can_be_scored(make, gone, left):
    root = make.two_splits([(0, 0, grid(1)[0])], [(0, 0, grid(1)[0])])
    (root / "annotations" / f"instances_{gone}2017.json").unlink()
    inspection, found = inspect(root)
    assert inspection.status == 0
    assert ("only-scored" in found) == (left == "val")
    if left == "val":
        assert found["only-scored"].message == "holds only val: it can be scored, not trained on"
        assert "split-drawn" not in found


def test_spellings_of_one_class_in_one_split(make):
    objects = [(n % 3, 0, box) for n, box in enumerate(grid(24))] + [(0, 1, [50, 40, 8, 8])]
    root = make.two_splits(objects, [(0, 0, grid(1)[0])], ("Red Cell", "red_cell"))
    _, found = inspect(root)
    assert "'red_cell' (1 in train), 'Red Cell' (24 in train, 1 in val)" in found["class-alike"].examples[0].where


@pytest.mark.parametrize("names", [("type 1", "type 2"), ("grade a", "grade b"), ("A", "a b"), ("cart", "carp")])
def test_names_that_are_different_on_purpose(make, names):
    objects = [(n % 3, 0, box) for n, box in enumerate(grid(24))] + [(0, 1, [50, 40, 8, 8])]
    root = make.two_splits(objects, [(0, 1, grid(1)[0])], names)
    _, found = inspect(root)
    assert not {"class-alike", "class-typo"} & found.keys()


def test_names_close_to_cocos(make):
    root = make.two_splits([(0, 0, grid(1)[0]), (0, 1, [30, 30, 8, 8])], [], ("Person", "motorbike"))
    _, found = inspect(root)
    assert found["coco-names"].examples[0].where == "'motorbike': COCO has 'motorcycle'"
    assert found["coco-names"].count == 1


def test_a_folder_without_a_class_that_is_frequent_elsewhere(make):
    names = [f"{'a' if n < 40 else 'b'}/{n}.jpg" for n in range(80)]
    for name in names:
        make.image(f"images/{name}", size=(64, 48))
    objects = [(n, 0, grid(1)[0]) for n in range(80)] + [(n, 1, [30, 30, 8, 8]) for n in range(0, 40)]
    make.coco("train.json", names, objects, ("thing", "widget"))
    _, found = inspect(make.root)
    assert found["class-unlabelled"].examples[0].where.startswith("widget: none in train images/b; ")


def test_boxes_of_odd_size_and_shape(make):
    objects = [(n % 3, 0, [1 + n, 1 + n, 10 + n % 3, 10]) for n in range(30)]
    root = make.two_splits([*objects, (0, 0, [0, 0, 64, 48]), (0, 0, [1, 40, 60, 2]), (1, 0, [9, 9, 0.5, 8])], [])
    _, found = inspect(root)
    assert "0, 0, 64 x 48 px, side 55.4 px, median of the class 10.5" in found["box-odd-size"].examples[0].where
    assert found["box-odd-shape"].count == 1
    assert "0.5 x 8 px" in found["box-thin"].examples[0].where


def test_boxes_that_nearly_coincide_against_all_pairs(make):
    rng = np.random.default_rng(0)
    corner, side = rng.random((60, 2)) * (20, 15), 10 + rng.random((60, 2)) * 20
    boxes = np.concatenate([corner, side], axis=1)
    boxes = np.concatenate([boxes, boxes[:20] + rng.normal(0, 0.4, (20, 4))])
    labels = rng.integers(0, 2, len(boxes))
    root = make.two_splits([(0, int(k), box.tolist()) for k, box in zip(labels, boxes, strict=True)], [])
    end = boxes[:, :2] + boxes[:, 2:]
    pairs = 0
    for i in range(len(boxes)):
        for j in range(i):
            shared = np.clip(np.minimum(end[i], end[j]) - np.maximum(boxes[i, :2], boxes[j, :2]), 0, None).prod()
            union = boxes[i, 2:].prod() + boxes[j, 2:].prod() - shared
            pairs += labels[i] == labels[j] and shared / union > 0.9
    assert pairs > 3
    _, found = inspect(root)
    assert found["box-near-duplicate"].count == pairs
    assert len(found["box-near-duplicate"].examples[0].boxes) == 2


def test_small_and_many_objects(make):
    make.image("images/1.png", size=(1333, 800))
    many = [(0, 0, [10 * (n % 100), 10 * (n // 100), 6, 6]) for n in range(600)]
    make.coco("train.json", [{"id": 1, "file_name": "1.png", "width": 1333, "height": 800}], many)
    inspection, found = inspect(make.root)
    assert found["objects-small"].message.startswith("100% of the boxes are smaller than 8 pixels")
    assert inspection.summary["seen_sides"][0] == 600
    assert found["objects-many"].examples[0].where == "images/1.png: 600 objects"
    assert found["objects-memory"].count == 1
    _, found = inspect(make.root, input_size=(2666, 1600))
    assert "objects-small" not in found


def test_outlines(make):
    square = [[4, 4, 14, 4, 14, 16, 4, 16]]
    bow_tie = [[4, 4, 14, 16, 14, 4, 4, 16]]
    root = make.two_splits(
        [
            (0, 0, [4, 4, 10, 12], {"segmentation": square}),
            (0, 1, [40, 30, 10, 12], {"segmentation": square}),
            (1, 0, [4, 4, 10, 12], {"segmentation": bow_tie}),
            (2, 0, [4, 4, 10, 12]),
        ],
        [],
    )
    _, found = inspect(root)
    assert found["box-outline-differ"].count == 1
    assert "dog at 40, 30" in found["box-outline-differ"].examples[0].where
    assert found["outline-crosses"].count == 1
    assert found["outline-crosses"].examples[0].outlines == (tuple(bow_tie[0]),)
    assert found["outline-missing"].count == 1
