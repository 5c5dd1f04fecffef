"""Masks as compressed run lengths, the same text as pycocotools writes, and back."""

import numpy as np
import pytest
import torch
from pycocotools import mask as api

from densekit.ops import run_lengths
from densekit.ops.run_lengths import encode


@pytest.fixture
def masks():
    found = torch.rand(9, 31, 47, generator=torch.Generator().manual_seed(0)) > 0.5
    found[0] = False
    found[1] = True
    found[2:7] = False
    found[2, 0, 0] = True
    found[3, 30, 46] = True
    found[4, :, 40:] = True
    found[5, :, :3] = True
    found[6, 5:9, 10:30] = True
    return found


def expected(masks):
    return [api.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))["counts"].decode() for mask in masks]


def test_text_is_that_of_pycocotools(masks):
    found = encode(masks)
    assert [rle["counts"] for rle in found] == expected(masks)
    assert all(rle["size"] == [31, 47] for rle in found)


def test_arrays_and_bytes_of_ones_are_masks_too(masks):
    assert encode(masks.numpy()) == encode(masks.to(torch.uint8)) == encode(masks)


def test_run_lengths_pass_through_as_text(masks):
    bytes_ = [api.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in masks]
    assert encode(bytes_) == encode(masks)


def test_no_masks_give_no_run_lengths(masks):
    assert encode(masks[:0]) == []


SHAPES = [(1, 1), (1, 7), (7, 1), (13, 9), (40, 64)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_all_forms_are_read_as_pycocotools_reads_them(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    ours, theirs = encode(mask[None])[0], api.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert ours["counts"].encode() == theirs["counts"]
    numbers = run_lengths.lengths(ours).tolist()
    assert numbers == run_lengths.lengths(theirs).tolist()  # text as bytes
    assert api.frPyObjects({"size": list(shape), "counts": numbers}, *shape)["counts"] == theirs["counts"]
    for form in (ours, theirs, {"size": list(shape), "counts": numbers}):
        assert (run_lengths.decode(form) == mask).all()
        assert run_lengths.as_text(form) == ours
    if mask.any():
        box, area = run_lengths.extent(ours)
        assert (box.tolist(), area) == (api.toBbox(theirs).tolist(), api.area(theirs)) == (box.tolist(), mask.sum())
        assert run_lengths.areas([ours, ours]).tolist() == [area, area]
    else:
        assert run_lengths.extent(ours) is None


def test_long_runs_take_several_characters():
    mask = np.zeros((3000, 4000), bool)
    mask[1000:2000, 500:3500] = True
    assert (run_lengths.decode(encode(mask[None])[0]) == mask).all()


@pytest.mark.parametrize("counts", [[2, 3], "23", "", [7, -1], "~~~~~~~~~~~~~~~~"])
def test_run_lengths_of_another_size_are_refused(counts):
    with pytest.raises(ValueError, match="pixels, the mask has 2 x 3"):
        run_lengths.lengths({"size": [2, 3], "counts": counts})
