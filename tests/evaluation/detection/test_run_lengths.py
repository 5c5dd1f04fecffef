"""Masks as compressed run lengths, the same text as pycocotools writes."""

import numpy as np
import pytest
import torch
from pycocotools import mask as api

from densekit.evaluation.detection.run_lengths import encode_masks


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
    found = encode_masks(masks)
    assert [rle["counts"] for rle in found] == expected(masks)
    assert all(rle["size"] == [31, 47] for rle in found)


def test_arrays_and_bytes_of_ones_are_masks_too(masks):
    assert encode_masks(masks.numpy()) == encode_masks(masks.to(torch.uint8)) == encode_masks(masks)


def test_run_lengths_pass_through_as_text(masks):
    bytes_ = [api.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in masks]
    assert encode_masks(bytes_) == encode_masks(masks)


def test_no_masks_give_no_run_lengths(masks):
    assert encode_masks(masks[:0]) == []
