"""Objects as columns: rows taken, joined and put in order, with all that belongs to them."""

import numpy as np
import pytest

from densekit.ops import run_lengths
from densekit.structures.detections import Detections, Images, is_found

IMAGES = Images((7, 3), ("a.png", "b.png"), np.array([[12, 9], [12, 9]]))
NAMES = {"images": IMAGES, "names": ("cat", "dog", "cow"), "category_ids": (1, 2, 3)}


def found(**changes):
    columns = {
        "image_index": [1, 0, 1],
        "labels": [0, 1, 1],
        "xywh": [[0, 0, 5, 4], [1, 2, 3, 4], [2, 2, 2, 2]],
        "scores": np.array([0.9, 0.25, 0.5], dtype=np.float32),
    }
    return Detections(**{**columns, **NAMES, **changes})


def test_what_was_not_given():
    objects = found(scores=None)
    assert objects.scores is None and objects.masks is None and not objects.has_masks
    assert not objects.crowd.any() and not objects.ignore.any() and np.isnan(objects.areas).all()


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="labels has 2 rows, there are 3 objects"):
        found(labels=[0, 1])


def test_rows_are_taken_by_mask_and_by_place():
    objects = found(masks=["one", None, "three"], origin=[5, 6, 7])
    for chosen in (np.array([False, True, True]), np.array([1, 2])):
        part = objects.take(chosen)
        assert (part.labels.tolist(), part.masks, part.origin) == ([1, 1], [None, "three"], [6, 7])
        assert part.images is IMAGES and part.scores.tolist() == [0.25, 0.5]
    assert objects.take(np.array([2, 0])).xyxy.tolist() == [[2, 2, 4, 4], [0, 0, 5, 4]]
    assert len(objects.take(np.zeros(3, bool))) == 0


def test_objects_image_by_image_as_they_were_within_each():
    objects = found().by_image()
    assert objects.image_index.tolist() == [0, 1, 1] and objects.scores.tolist() == pytest.approx([0.25, 0.9, 0.5])
    assert objects.bounds().tolist() == [0, 1, 3]


def test_tables_are_joined():
    one, other = found(masks=["a", "b", "c"]), found(masks=["d", None, "f"]).take(np.array([1]))
    both = Detections.join([one, other])
    assert len(both) == 4 and both.masks == ["a", "b", "c", None] and both.xywh.shape == (4, 4)
    assert Detections.join([one, found()]).masks is None
    nothing = Detections.join([], **NAMES)
    assert len(nothing) == 0 and nothing.bounds().tolist() == [0, 0, 0]


def test_threshold_and_counts():
    objects = found()
    assert objects.above(0.5).scores.tolist() == pytest.approx([0.9, 0.5])  # "or more"
    assert objects.counts() == {"cat": 1, "dog": 2, "cow": 0}
    assert found(crowd=[True, False, False]).to_find().tolist() == [0, 2, 0]
    assert is_found(float(str(np.float32(0.7))), 0.7)


def test_masks_of_one_image():
    shape = np.zeros((2, 9, 12), bool)
    shape[0, 2:4, 1:8] = shape[1, :, 3] = True
    one = Detections([0, 0], [0, 1], np.zeros((2, 4)), masks=run_lengths.encode(shape), images=IMAGES.take([0]))
    assert one.size == (12, 9) and one.has_masks
    assert (one.bitmaps() == shape).all()
    assert one.take(np.array([], dtype=int)).bitmaps().shape == (0, 9, 12)


def test_words():
    objects = found(xywh=[[-0.0, 2.25, 5, 4]] * 3)
    assert objects.words(1, objects.names) == "dog at 0, 2.25, 5 x 4 px"
    assert str(objects.corners(0)) == "(0.0, 2.25, 5.0, 6.25)"
