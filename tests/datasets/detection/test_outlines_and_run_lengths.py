"""Run lengths and polygons against pycocotools and known answers."""

import numpy as np
import pytest

from densekit.datasets.detection.segmentation import crosses_itself, decode_mask, encode_mask, extent, run_lengths

SHAPES = [(1, 1), (1, 7), (7, 1), (13, 9), (40, 64)]


def masks():
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for share in (0.0, 0.02, 0.5, 0.98, 1.0):
            yield rng.random(shape) < share


def test_run_lengths_are_those_of_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    for mask in masks():
        ours = encode_mask(mask)
        theirs = coco.frPyObjects(ours, *mask.shape)
        assert theirs["counts"] == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        assert run_lengths({"size": ours["size"], "counts": theirs["counts"]}).tolist() == ours["counts"]
        assert run_lengths({"size": ours["size"], "counts": theirs["counts"].decode()}).tolist() == ours["counts"]
        assert (decode_mask(ours) == mask).all()
        if mask.any():
            box, area = extent(ours)
            assert (box.tolist(), area) == (coco.toBbox(theirs).tolist(), coco.area(theirs))
        else:
            assert extent(ours) is None


def test_run_lengths_of_another_size_are_refused():
    with pytest.raises(ValueError, match="add up to 5 pixels, the mask has 2 x 3"):
        run_lengths({"size": [2, 3], "counts": [2, 3]})


def test_extent_of_polygons():
    box, area = extent([[0, 0, 4, 0, 4, 3], [10, 10, 12, 10, 12, 12, 10, 12]])
    assert box.tolist() == [0, 0, 12, 12]
    assert area == 6 + 4


@pytest.mark.parametrize(
    ("polygon", "crosses"),
    [
        ([0, 0, 4, 0, 4, 4, 0, 4], False),
        ([0, 0, 4, 4, 4, 0, 0, 4], True),
        ([0, 0, 4, 0, 2, 3], False),
        ([0, 0, 4, 0, 4, 4, 4, 4, 0, 4, 0, 0], False),
        ([0, 0, 4, 0, 4, 4, 2, 0, 0, 4], False),
        ([0, 0, 4, 0, 4, 4, 2, -1, 0, 4], True),
    ],
)
def test_crossing(polygon, crosses):
    assert crosses_itself(polygon) is crosses
