"""What is put right is counted with its place; what cannot be put right is an error."""

import json

import numpy as np
import pytest

from densekit.datasets.detection import prepare_detection
from densekit.datasets.detection.findings import KINDS

OUTLINE = [[4, 4, 14, 4, 14, 16, 4, 16]]


def test_boxes_without_extent_are_left_out_and_listed(make, load):
    root = make.two_splits([(0, 0, [5, 5, 0, 8]), (0, 1, [5, 5, 8, -2]), (1, 0, [1, 1, 9, 9])], [])
    dataset, found = load(root)
    assert len(dataset.annotations) == 1
    finding = found["box-without-extent"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert finding.examples[0].where == (
        "annotations/instances_train2017.json, annotation 1 (1.jpg): cat at 5, 5, 0 x 8 px"
    )
    assert finding.examples[0].image.endswith("train2017/1.jpg")


def test_boxes_over_the_border_are_clipped_worst_first(make, load):
    root = make.two_splits(
        [(0, 0, [60, 40, 10, 10]), (0, 1, [-20, 4, 30, 10]), (1, 0, [0, 0, 64.4, 48.3]), (2, 0, [70, 1, 5, 5])], []
    )
    dataset, found = load(root)
    assert dataset.annotations.xywh.tolist() == [[60, 40, 4, 8], [0, 4, 10, 10], [0, 0, 64.4, 48.3]]
    assert dataset.annotations.areas.tolist()[:2] == [32, 100]
    assert found["box-over-border"].count == 2
    assert "20 px over; image 64 x 48" in found["box-over-border"].examples[0].where
    assert found["box-outside"].count == 1
    assert "dog" in found["box-over-border"].examples[0].where


@pytest.mark.parametrize("wrong, code, severity", [(4, "box-over-border", "note"), (5, "boxes-over-border", "warning")])
def test_many_boxes_over_the_border_are_a_warning(make, load, wrong, code, severity):
    objects = [(n % 3, 0, [[-4, 3 + n, 20, 9], [44 + n % 3, 3 + n, 24, 9]][n % 2]) for n in range(wrong)]
    right = [(n % 3, 0, [8 + 2 * n, 3 + n, 12, 9]) for n in range(15)]
    _, found = load(make.two_splits(objects + right, []))
    assert [(f.code, f.severity) for f in found.values() if "border" in f.code] == [(code, severity)]


def test_no_finding_with_nothing_to_do_is_a_warning():
    assert all(kind.remedy for kind in KINDS.values() if kind.severity != "note")
    assert not [code for code, kind in KINDS.items() if kind.remedy == "nothing to do"]


def test_the_area_of_an_outline_stays_when_the_box_is_clipped(make, load):
    root = make.two_splits([(0, 0, [60, 40, 10, 10], {"segmentation": OUTLINE, "area": 77.0})], [])
    assert load(root)[0].annotations.areas.tolist() == [77.0]


def test_identical_annotations_are_kept_once_but_not_if_their_outlines_differ(make, load):
    box = [4, 4, 10, 12]
    root = make.two_splits(
        [
            (0, 0, box),
            (0, 0, box),
            (0, 1, box),
            (1, 0, box),
            (2, 0, box, {"segmentation": OUTLINE}),
            (2, 0, box, {"segmentation": [[5, 5, 14, 4, 14, 16]]}),
        ],
        [],
    )
    dataset, found = load(root)
    assert found["box-duplicate"].count == 1
    assert "annotation 2 " in found["box-duplicate"].examples[0].where
    assert len(dataset.annotations) == 5


def test_outlines_of_two_points_are_left_out(make, load):
    root = make.two_splits(
        [
            (0, 0, [4, 4, 10, 12], {"segmentation": [[1, 2, 3, 4], OUTLINE[0]]}),
            (1, 0, [4, 4, 10, 12], {"segmentation": [[1, 2, 3, 4, 5]]}),
        ],
        [],
    )
    dataset, found = load(root)
    assert dataset.annotations.masks == [OUTLINE, None]
    assert found["outline-short"].count == 2


def test_outlines_of_points_are_flattened_and_it_is_told_once(make, load):
    points = [[[4, 4], [14, 4], [14, 16], [4, 16]]]
    root = make.two_splits([(n, 0, [4, 4, 10, 12], {"segmentation": points}) for n in range(2)], [])
    dataset, found = load(root)
    assert dataset.annotations.masks == [OUTLINE, OUTLINE]
    assert (found["layout"].severity, found["layout"].count) == ("note", 2)
    assert "read as COCO's [x, y, x, y, ...]" in found["layout"].message
    assert "outline-short" not in found


@pytest.mark.parametrize(
    "outline",
    [
        "4 4 14 4",
        7,
        [7],
        ["4 4 14 4"],
        [None],
        [["4", 4, "14", 4, 14, 16]],
        [[4, 4, 14, 4, None, 16]],
        [[[4, 4], [14, "4"], [14, 16]]],
        [[[4, 4], [14, None], [14, 16]]],
        [[[4, 4], [14, 4], [14]]],
        [[[[4, 4], [14, 4]], [14, 16], [4, 16]]],
        [[4, 4, 14, 4, 14, float("nan")]],
        [[4, 4, 14, 4, float("inf"), 16]],
        [[4, 4, 14, 4, 10**400, 16]],
        [[4, 4, 1e200, 4, 1e200, 1e200]],
    ],
)
def test_an_outline_that_is_no_polygon_is_left_out(make, tmp_path, outline):
    root = make.two_splits([(0, 0, [4, 4, 10, 12], {"segmentation": outline, "area": None})], [])
    prepared = prepare_detection(root, cache=tmp_path)
    assert next(f for f in prepared.findings if f.code == "outline-short").count == 1
    written = json.loads(prepared.annotations["train"].read_text())["annotations"]
    assert [("segmentation" in a, a["area"]) for a in written] == [(False, 120)]


@pytest.mark.parametrize(
    "outline",
    [
        {"size": [10, 10], "counts": [0, 100]},
        {"size": [48, 64], "counts": [10**30]},
        {"size": [48, 64], "counts": [5, 5]},
        {"size": [48, 64], "counts": "garbage"},
        {"counts": [1]},
    ],
)
def test_run_lengths_that_are_not_the_images_are_errors(make, load, outline):
    root = make.two_splits([(0, 0, [1, 1, 5, 5], {"segmentation": outline}), (0, 0, [4, 4, 10, 12])], [])
    dataset, found = load(root)
    assert found["mask-size"].severity == "error"
    assert len(dataset.annotations) == 1


def test_corners_instead_of_sizes_are_recognised(make, load):
    corners = [[30, 20, 50, 40], [10, 10, 60, 45], [40, 5, 63, 25], [2, 2, 8, 9]]
    root = make.two_splits([(0, 0, box) for box in corners], [])
    _, found = load(root)
    assert found["box-format"].severity == "error"
    assert "[x1, y1, x2, y2]" in found["box-format"].message
    assert "box-over-border" not in found


def test_fractions_instead_of_pixels_are_recognised(make, load):
    root = make.two_splits([(0, 0, [0.1, 0.2, 0.3, 0.3]), (0, 0, [0.5, 0.5, 0.4, 0.4]), (1, 1, [0, 0, 1, 1])], [])
    assert "fractions" in load(root)[1]["box-format"].message


def test_right_boxes_are_not_taken_for_another_format(make, load):
    rng = np.random.default_rng(0)
    low = rng.random((40, 2)) * (40, 30)
    sizes = rng.random((40, 2)) * ((64, 48) - low)
    objects = [(0, 0, [*corner, *side]) for corner, side in zip(low.tolist(), sizes.tolist(), strict=True)]
    root = make.two_splits([*objects, (1, 0, [60, 40, 10, 10]), (1, 0, [60, 44, 9, 9]), (1, 1, [62, 1, 9, 9])], [])
    _, found = load(root)
    assert "box-format" not in found
    assert found["box-over-border"].count == 3


# --- files ----------------------------------------------------------------------------------------------------------
def test_missing_and_broken_files_are_errors(make, load):
    root = make.two_splits([(0, 0, [1, 1, 5, 5])], [(0, 0, [1, 1, 5, 5])])
    (root / "train2017" / "1.jpg").unlink()
    (root / "train2017" / "2.jpg").write_bytes(b"")
    (root / "val2017" / "4.jpg").write_text("<html>404</html>")
    dataset, found = load(root)
    assert found["image-missing"].severity == "error"
    assert [example.where for example in found["image-missing"].examples] == ["1.jpg"]
    assert [e.where.split(": ") for e in found["image-unreadable"].examples] == [
        ["train2017/2.jpg", "the file is empty"],
        ["val2017/4.jpg", "not an image that can be read (jpg, png, bmp, tif, webp); check what the file is"],
    ]
    assert len(dataset.annotations) == 2  # the boxes are checked all the same


def test_when_no_image_is_there_it_is_said_so(make, load):
    make.coco("result.json", ["1.jpg", "2.jpg"], [(0, 0, [1, 1, 5, 5])])
    assert "not one of the images" in load(make.root)[1]["image-missing"].message


def test_annotated_size_must_be_the_images(make, load):
    root = make.two_splits([(0, 0, [1, 1, 5, 5])], [])
    make.image("train2017/1.jpg", size=(128, 96))
    _, found = load(root)
    assert found["image-size"].severity == "error"
    assert "annotated 64 x 48, the image is 128 x 96" in found["image-size"].examples[0].where


def turned(make, name):
    """A photograph that lies on its side: 48 wide and 64 high when shown, the other way round in the file."""
    import PIL.Image

    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    make.image(name, size=(64, 48), exif=exif)


def test_exif_rotation_counts(make, load):
    root = make.two_splits([(0, 0, [1, 1, 5, 5])], [])
    turned(make, "train2017/1.jpg")
    _, found = load(root)
    assert "(EXIF turns it)" in found["image-size"].examples[0].where
    upright = [{"id": 1, "file_name": "1.jpg", "width": 48, "height": 64}]
    make.coco("annotations/instances_train2017.json", upright, [(0, 0, [1, 1, 5, 60])])
    dataset, found = load(root)
    assert "image-size" not in found
    assert dataset.headers[0].orientation == 6


def test_yolo_fractions_are_of_the_upright_image(make, load, boxes_of):
    turned(make, "images/a.jpg")
    make.text("labels/a.txt", "0 0.5 0.5 0.5 0.5\n")
    make.text("classes.txt", "cat\n")
    assert boxes_of(load(make.root)[0])[0][2] == [12, 16, 24, 32]


# --- classes asked for ----------------------------------------------------------------------------------------------
def test_classes_asked_for_are_kept_in_that_order(make, load, boxes_of):
    root = make.two_splits(
        [(0, 0, [1, 1, 5, 5]), (0, 1, [8, 8, 5, 5]), (1, 2, [1, 1, 5, 5])], [], classes=("cat", "dog", "bird")
    )
    dataset, found = load(root, classes=["bird", "cat"])
    assert dataset.classes == ("bird", "cat")
    assert [(file, name) for file, name, _ in boxes_of(dataset)] == [
        ("train2017/1.jpg", "cat"),
        ("train2017/2.jpg", "bird"),
    ]
    assert dataset.annotations.labels.tolist() == [1, 0]
    assert "1 objects: dog" in found["layout"].message
