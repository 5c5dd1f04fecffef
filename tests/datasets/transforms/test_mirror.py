"""A mirrored left kidney is a right kidney: swapped, refused, or left alone on explicit demand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densekit.datasets.transforms import AnatomicalMirror, Pipeline
from densekit.datasets.transforms.mirror import changes_sides
from densekit.errors import ConfigError

LABELS = ["background", "left kidney", "liver", "right kidney"]
SWAP = [("left kidney", "right kidney")]


def sample() -> dict:
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    label = torch.zeros((1, 2, 3, 4), dtype=torch.uint8)
    label[0, 0, 0] = torch.tensor([3, 2, 0, 1])  # W grows to the left: the right kidney comes first
    return {"inputs": image, "label": label}


@pytest.mark.parametrize(("axis", "dim"), [("superior-inferior", 1), ("anterior-posterior", 2), ("left-right", 3)])
def test_anatomical_axes_of_the_canonical_volume(axis, dim):
    result = AnatomicalMirror(axes=[axis], prob=1.0, labels=LABELS, swap=SWAP)(sample())
    assert torch.equal(result["inputs"], sample()["inputs"].flip(dim))


def test_left_right_exchanges_paired_labels():
    result = AnatomicalMirror(axes=["left-right"], prob=1.0, labels=LABELS, swap=SWAP)(sample())
    assert result["label"][0, 0, 0].tolist() == [3, 0, 2, 1]  # the right kidney is still the one on the right
    assert result["label"].dtype == torch.uint8


def test_other_axes_exchange_nothing():
    mirror = AnatomicalMirror(axes=["anterior-posterior", "superior-inferior"], prob=1.0, labels=LABELS)
    result = mirror(sample())
    assert torch.equal(result["label"], sample()["label"].flip((1, 2)))


def test_twice_is_the_identity():
    mirror = AnatomicalMirror(prob=1.0, labels=LABELS, swap=SWAP)
    result = mirror(mirror(sample()))
    assert torch.equal(result["inputs"], sample()["inputs"])
    assert torch.equal(result["label"], sample()["label"])


def test_labels_without_sides_need_no_pairs():
    result = AnatomicalMirror(axes=["left-right"], prob=1.0, labels=["background", "liver", "bright spot", "x"])(
        sample()
    )
    assert torch.equal(result["label"], sample()["label"].flip(3))


def test_relabel_false_mirrors_only():
    result = AnatomicalMirror(axes=["left-right"], prob=1.0, labels=LABELS, relabel=False)(sample())
    assert torch.equal(result["label"], sample()["label"].flip(3))


def test_axes_are_drawn_one_by_one():
    mirror = AnatomicalMirror(labels=["background"])
    mirror.set_random_state(seed=0)
    image = torch.arange(8.0).reshape(1, 2, 2, 2)
    first = [mirror({"inputs": image})["inputs"][0, 0, 0, 0].item() for _ in range(800)]
    counts = [first.count(value) for value in range(8)]
    assert min(counts) > 70  # all eight combinations, 100 each on average


@pytest.mark.parametrize("name", ["left kidney", "kidney_right", "Left Kidney", "AdrenalRight", "LEFT LUNG"])
def test_a_side_without_a_partner_is_refused(name):
    with pytest.raises(ConfigError, match=f"would mislabel '{name}'; pair them, as in"):
        AnatomicalMirror(labels=["background", name])


def test_pairs_that_do_not_cover_every_side_are_refused():
    with pytest.raises(ConfigError, match="would mislabel 'left adrenal gland'"):
        AnatomicalMirror(labels=[*LABELS, "left adrenal gland"], swap=SWAP)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axes": ["left-rigth"]}, "unknown axis 'left-rigth', .*did you mean 'left-right'"),
        ({"axes": ["left-right"]}, "needs labels"),
        ({"labels": LABELS, "swap": [("left kidny", "right kidney")]}, "'left kidny', .* did you mean 'left kidney'"),
        ({"labels": LABELS, "swap": [*SWAP, ("left kidney", "liver")]}, "'left kidney' more than once"),
        ({"labels": LABELS, "swap": ["left kidney", "right kidney"]}, "expected pairs of two class names"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        AnatomicalMirror(**arguments)


LEFT_STAYS_LEFT = [
    {"type": "AnatomicalMirror", "labels": LABELS, "swap": SWAP},
    {"type": "AnatomicalMirror", "axes": ["anterior-posterior"], "relabel": False},
    {"type": "RandFlipd", "spatial_axis": 0},
    {"type": "RandFlipd", "spatial_axis": [0, -2]},
    {"type": "RandFlipd", "prob": 0},
    {"type": "Flipd", "spatial_axis": 1},
    {"type": "RandRotate90d"},
    {"type": "RandRotate90d", "spatial_axes": (1, 2), "max_k": 1},
    {"type": "Rotate90d", "spatial_axes": (1, 2)},
    {"type": "Rotate90d", "spatial_axes": (0, 1), "k": 2},
    {"type": "RandRotated", "range_x": 0.4, "range_y": 0.4, "range_z": 3.1},
    {"type": "RandAffined", "rotate_range": [0.3, (-0.2, 0.2), 3.1]},
    {"type": "RandAffined"},
]
LEFT_BECOMES_RIGHT = [
    {"type": "AnatomicalMirror", "relabel": False},
    {"type": "RandFlipd"},
    {"type": "RandFlipd", "spatial_axis": 2},
    {"type": "RandFlipd", "spatial_axis": [0, -1]},
    {"type": "Flipd", "spatial_axis": 2},
    {"type": "RandAxisFlipd"},
    {"type": "RandRotate90d", "spatial_axes": (1, 2)},
    {"type": "RandRotate90d", "spatial_axes": (-1, 0), "max_k": 2},
    {"type": "Rotate90d", "spatial_axes": (1, 2), "k": 2},
    {"type": "RandRotated", "range_x": 3.1},
    {"type": "RandRotated", "range_y": (0, 3.1)},
    {"type": "RandAffined", "rotate_range": 3.1},
    {"type": "RandAffined", "rotate_range": [0, (0, 3.1), 0]},
]


@pytest.mark.parametrize("config", LEFT_STAYS_LEFT + LEFT_BECOMES_RIGHT, ids=str)
def test_transforms_that_put_left_to_the_right_are_known(config):
    keys = {} if config["type"] == "AnatomicalMirror" else {"keys": ("inputs", "label")}
    random = {"prob": 1.0} if "Rand" in config["type"] or not keys else {}
    pipeline = Pipeline([{**keys, **random, **config}])
    image, label = torch.zeros((1, 9, 9, 9)), torch.zeros((1, 9, 9, 9))
    image[0, 2:7, 2:7, 7], label[0, 2:7, 2:7, 7] = 1.0, 1.0  # a left kidney, on the left
    swapped = False
    for seed in range(40):
        pipeline.seed(np.random.SeedSequence(seed))
        result = pipeline({"inputs": image, "label": label})
        right, left = result["inputs"][..., :3], result["inputs"][..., 6:]
        swapped |= bool(right.sum() > 3 * left.sum() and (result["label"].round() == 1).any())
    assert changes_sides(config) == swapped == (config in LEFT_BECOMES_RIGHT)
