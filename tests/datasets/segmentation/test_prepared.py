from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.segmentation import prepared
from densekit.datasets.shared.folds import Fold
from densekit.errors import ConfigError, DataError
from tests.datasets.segmentation.conftest import found, labels

COLOURS = {"road": (10, 20, 30), "roof": (200, 0, 0)}


def test_index_masks_are_read_as_they_are_and_counted(maker):
    maker.pairs("a", "b", folder="train/", values=(0, 1, 255))
    maker.pairs("c", folder="val/", values=(1, 2))
    data = maker.prepare(classes=["sky", "road", "roof"])
    assert (data.format, data.classes, data.channels) == ("pairs", ("sky", "road", "roof"), 3)
    assert {split: len(pairs) for split, pairs in data.splits.items()} == {"train": 2, "val": 1}
    assert labels(data) == [0, 1, 255] and labels(data, "val") == [1, 2]
    counts = data.counts["train"]
    assert counts["pixels"].tolist() == [144, 120, 0] and counts["ignored"] == 120 and counts["unlabelled"] == 0
    assert data.splits["val"][0].size == (16, 12)


def test_without_a_list_the_values_are_the_classes(maker):
    maker.pairs("a", "b", values=(7, 3, 0, 255))
    data = maker.prepare(ignore=0)
    assert data.classes == ("3", "7") and labels(data) == [1, 0, 255]
    maker.pairs("a", "b", values=(0, 255))
    data = maker.prepare()
    assert data.classes == ("background", "foreground") and labels(data) == [0, 1]


def test_masks_of_0_and_255_are_two_classes(maker):
    maker.pairs("a", "b", values=(0, 255))
    assert labels(maker.prepare(classes=["wall", "crack"])) == [0, 1]
    assert labels(maker.prepare(classes=["crack"], ignore=0)) == [255, 0]
    with pytest.raises(ConfigError, match="one class, 'crack', for masks of 0 and 255; name both"):
        maker.prepare(classes=["crack"])


def test_colours_may_be_given_apart_from_the_names(maker):
    maker.pairs("a", "b", values=list(COLOURS.values()))
    for colours in (COLOURS, list(COLOURS.values())[::-1]):
        assert labels(maker.prepare(classes=["roof", "road"], colours=colours)) == [1, 0]
    assert maker.prepare(colours=COLOURS).classes == ("road", "roof")
    with pytest.raises(ConfigError, match="has no colour for the class 'sky'"):
        maker.prepare(classes=["roof", "sky"], colours=COLOURS)


def test_names_are_those_of_the_values_that_are_not_ignored(maker):
    maker.pairs("a", "b", values=(0, 1, 2))
    assert labels(maker.prepare(classes=["road", "roof"], ignore=0)) == [255, 0, 1]
    assert labels(maker.prepare(classes=["sky", "road", "roof"], ignore="road")) == [0, 255, 1]
    assert labels(maker.prepare(classes={"road": 1, "roof": 2, "sky": 0})) == [2, 0, 1]


def test_colours_are_turned_to_labels_once(maker):
    maker.pairs("a", "b", values=[*COLOURS.values(), (0, 0, 0)])
    Image.open(maker.path("masks/b.png")).quantize(8).save(maker.path("masks/b.png"))
    data = maker.prepare(classes=COLOURS, ignore=[(0, 0, 0)])
    assert labels(data) == labels(data, "val") == [0, 1, 255]
    assert data.colours == tuple(COLOURS.values())
    mask = data.splits["train"][0].mask
    written = Path(mask).stat().st_mtime_ns
    again = maker.prepare(classes=COLOURS, ignore=[(0, 0, 0)])
    assert Path(mask).stat().st_mtime_ns == written
    assert again.splits == data.splits and again.findings == data.findings and again.classes == data.classes
    assert (again.lookup == data.lookup).all() and again.counts["train"]["pixels"].tolist() == [72, 60]


def test_the_cache_notices_a_changed_file_and_a_lost_mask(maker, monkeypatch):
    maker.pairs("a", "b", values=list(COLOURS.values()))
    data = maker.prepare(classes=COLOURS)
    Path(data.splits["train"][0].mask).unlink()
    assert labels(maker.prepare(classes=COLOURS)) == [0, 1]
    maker.pairs("a", "b", values=list(COLOURS.values())[::-1])
    assert labels(maker.prepare(classes=COLOURS)) == [1, 0]
    monkeypatch.setattr(prepared, "_read", None)
    assert labels(maker.prepare(classes=COLOURS)) == [1, 0]


def test_masks_a_pixel_off_are_cut_and_filled_up(maker):
    maker.image("images/a.png", "images/b.png")
    maker.mask("masks/a.png", values=(1,), size=(17, 11))
    maker.mask("masks/b.png", values=(0,))
    data = maker.prepare(seed=None)
    read = data.read_labels(data.splits["train"][0])
    assert read.shape == (12, 16) and (read[:11] == 1).all() and (read[11] == 255).all()
    assert found(data)["mask-size-off"] == ("warning", 1)


def test_folds_are_made_by_patient_from_the_table_beside_the_data(maker):
    maker.pairs(*"abcdef")
    lines = [f"{stem},{number // 2},train" for number, stem in enumerate("abcdef")]
    maker.text("splits.csv", "\n".join(["image,patient,split", *lines]))
    sets = [{p.image[-5] for p in maker.prepare(fold=Fold(3, n)).splits["val"]} for n in range(3)]
    assert sorted("".join(sorted(s)) for s in sets) == ["ab", "cd", "ef"]


def test_splits_csv_may_name_folders(maker):
    for tile in "123":
        maker.pairs("a", folder=f"Tile {tile}/")
    maker.text("splits.csv", "image,split\nTile 1,train\nTile 2,val")
    data = maker.prepare()
    assert {split: [p.image.split("/")[-3] for p in pairs] for split, pairs in data.splits.items()} == {
        "train": ["Tile 1"],
        "val": ["Tile 2"],
    }


@pytest.mark.parametrize("values", [(1,), (7, 300), (255,)])
def test_16_bit_masks_and_grey_masks_saved_as_colour(maker, values):
    maker.pairs("a", "b", values=values, dtype=np.uint16)
    names = {f"c{value}": value for value in values}
    assert labels(maker.prepare(classes=names)) == list(range(len(values)))
    if max(values) < 256:
        maker.pairs("a", "b", values=[(v, v, v) for v in values])
        assert labels(maker.prepare(classes=names)) == list(range(len(values)))


def test_what_is_unused_or_empty_or_zero_is_said(maker):
    maker.pairs("a", "b", values=(0, 1))
    maker.mask("masks/c.png", values=(0,))
    maker.image("images/c.png")
    data = maker.prepare(classes={"road": 1, "roof": 2})
    assert found(data)["zero-unlabelled"] == ("warning", 3) and labels(data) == [255, 0]
    assert found(data)["class-unused"] == ("warning", 1) and found(data)["mask-empty"] == ("warning", 1)


@pytest.mark.parametrize(
    ("values", "how", "message"),
    [
        ((0, 1, 9), {"classes": ["a", "b"]}, r"stand for no class: 1, e\.g\. 9 in masks/a\.png: 120 pixels in 2 masks"),
        ([(1, 2, 3), (4, 5, 6)], {}, r"coloured \(RGB\) .*a\.png has the colours \(1, 2, 3\), \(4, 5, 6\)"),
        (
            [(10, 20, 31)],
            {"classes": COLOURS},
            r"\(10, 20, 31\) .*384 pixels in all masks, nearest is road \(10, 20, 30\)",
        ),
        ((255,), {"classes": ["a"]}, "without a labelled pixel"),
        ((255,), {}, r": no mask has a pixel with a class: their values are all ignored"),
    ],
)
def test_masks_that_cannot_be_right(maker, values, how, message):
    maker.pairs("a", "b", values=values)
    with pytest.raises(DataError, match=message):
        maker.prepare(**how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"classes": {"a": (1, 2, 3), "b": (1, 2, 3)}}, r"a and b have one colour, \(1, 2, 3\)"),
        ({"classes": ["a", "b"], "ignore": "c"}, r"no such class; there are a, b"),
        ({"classes": ["a"], "colours": [(1, 2, 3), (4, 5, 6)]}, "2 for 1 classes"),
        ({"ignore": 1.5}, "expected values of masks"),
        ({"format": "pears"}, "format='pears'"),
    ],
)
def test_wishes_that_cannot_be_right(maker, how, message):
    maker.pairs("a", "b", values=[(1, 2, 3), (4, 5, 6)] if "classes" in how and "ignore" not in how else (0, 1))
    with pytest.raises(ConfigError, match=message):
        maker.prepare(**how)


def test_files_that_do_not_fit(maker):
    maker.pairs("a", "b", "c")
    maker.image("images/d.png", "test/images/e.png", "images/a.jpg")
    maker.mask("masks/f.png")
    maker.mask("masks/b.png", size=(20, 12))
    maker.text("masks/c.png", "no image")
    findings = found(maker.read())
    assert findings["mask-missing"] == ("error", 1) and findings["stem-twice"] == ("error", 1)
    assert findings["mask-size"] == ("error", 1) and findings["mask-unreadable"] == ("error", 1)
    assert findings["image-without-mask"] == ("warning", 1) and findings["mask-without-image"] == ("warning", 1)


def test_a_missing_mask_is_refused(maker):
    maker.pairs("a", "b")
    maker.image("images/d.png")
    with pytest.raises(DataError, match=r"without a mask, .*: 1, e\.g\. images/d\.png; add the masks"):
        maker.prepare()
