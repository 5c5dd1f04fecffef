"""One mask file per object: boxes, areas and run lengths follow from it."""

import numpy as np
import pytest
from PIL import Image

from densekit.ops import run_lengths


def mask(path, box, size=(64, 48), value=255, mode="L"):
    values = np.zeros((size[1], size[0]), np.uint8)
    x1, y1, x2, y2 = box
    values[y1:y2, x1:x2] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).convert(mode).save(path)


@pytest.fixture
def nuclei(make):
    for case in ("one", "two"):
        make.image(f"{case}/images/{case}.png")
    mask(make.root / "one/masks/a.png", (3, 4, 10, 20))
    mask(make.root / "one/masks/b.png", (60, 40, 64, 48), mode="RGBA")
    mask(make.root / "two/masks/c.png", (0, 0, 64, 48), mode="1")
    make.text("splits.csv", "image_id,kind,split\none,x,train\ntwo,x,val\n")
    return make


def test_boxes_areas_and_masks(nuclei, load, boxes_of):
    dataset, found = load(nuclei.root)
    assert dataset.classes == ("object",)
    assert boxes_of(dataset) == [
        ("one/images/one.png", "object", [3, 4, 7, 16]),
        ("one/images/one.png", "object", [60, 40, 4, 8]),
        ("two/images/two.png", "object", [0, 0, 64, 48]),
    ]
    assert dataset.annotations.areas.tolist() == [7 * 16, 4 * 8, 64 * 48]
    decoded = run_lengths.decode(dataset.annotations.masks[0])
    assert decoded.shape == (48, 64)
    assert np.argwhere(decoded).min(axis=0).tolist() == [4, 3]
    assert dataset.has_masks
    assert [image.split for image in dataset.images] == ["train", "val"]
    assert not [finding for finding in found.values() if finding.severity != "note"]


def test_masks_that_cannot_be_right(nuclei, load):
    mask(nuclei.root / "one/masks/d.png", (0, 0, 0, 0))
    mask(nuclei.root / "one/masks/e.png", (0, 0, 5, 5), size=(32, 32))
    several = np.zeros((48, 64), np.uint8)
    several[:10], several[20:30] = 1, 2
    Image.fromarray(several).save(nuclei.root / "one/masks/f.png")
    nuclei.text("one/masks/g.png", "not an image")
    dataset, found = load(nuclei.root)
    assert len(dataset.annotations) == 3
    assert found["mask-empty"].examples[0].where == "one/masks/d.png"
    assert "the mask is 32 x 32, the image 64 x 48" in found["mask-size"].examples[0].where
    assert found["mask-values"].examples[0].where == "one/masks/f.png"
    assert found["file-unreadable"].examples[0].where == "one/masks/g.png: not an image"
    assert [found[c].severity for c in ("mask-empty", "mask-size", "mask-values")] == ["warning", "error", "error"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "not an image"), (b"<html></html>", "not an image"), (None, "No such file"), (..., "Is a directory")],
    ids=["empty", "web page", "dangling link", "folder"],
)
def test_a_mask_that_cannot_be_read_is_an_error(nuclei, load, content, words):
    file = nuclei.root / "one/masks/a.png"
    file.unlink()
    if content is None:
        file.symlink_to("nowhere")
    elif content is ...:
        file.mkdir()
    else:
        file.write_bytes(content)
    found = load(nuclei.root)[1]["file-unreadable"]
    assert (found.severity, found.count) == ("error", 1)
    assert found.examples[0].where.startswith("one/masks/a.png: ")
    assert words in found.examples[0].where


@pytest.mark.parametrize("name", ["one.jpg", "other.png", "two.png"])
def test_a_case_of_two_images_is_an_error_and_not_passed_over(nuclei, load, name):
    nuclei.image(f"one/images/{name}")
    place = load(nuclei.root)[1]["image-ambiguous"].examples[0].where
    assert place.startswith("one: the masks are of ")
    assert name in place
