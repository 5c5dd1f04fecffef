"""Losses that a config asks for."""

import numpy as np
import pytest

from densekit.errors import ConfigError
from densekit.tasks.segmentation.losses import BALANCED, class_weights, with_losses

NAMES = ("road", "house", "tree", "sky")
PIXELS = np.array([1000, 100, 10, 0])


def test_balanced_weights_are_the_median_over_the_frequency():
    assert class_weights(BALANCED, NAMES, PIXELS) == [0.1, 1.0, 10.0, 1.0]


def test_weights_by_name_and_by_place():
    assert class_weights({"tree": 4}, NAMES, PIXELS) == [1.0, 1.0, 4.0, 1.0]
    assert class_weights([1, 2, 3, 4], NAMES, PIXELS) == [1.0, 2.0, 3.0, 4.0]
    assert class_weights(None, NAMES, PIXELS) is None


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"no class 'trees'; did you mean 'tree'.*; there are "):
        class_weights({"trees": 4}, NAMES, PIXELS)
    with pytest.raises(ConfigError, match="2 numbers, the data have 4 classes"):
        class_weights([1, 2], NAMES, PIXELS)


def model(**more):
    return {"decode_head": {"type": "mmseg.FCNHead", "loss_decode": {"type": "CrossEntropyLoss"}}, **more}


def test_losses_replace_those_of_the_recipe():
    head = with_losses(model(), {"ce": 1.0, "dice": 0.5}, [1.0, 2.0], None)["decode_head"]
    assert [(loss["type"], loss["loss_weight"]) for loss in head["loss_decode"]] == [
        ("mmseg.CrossEntropyLoss", 1.0),
        ("densekit.SoftDiceLoss", 0.5),
    ]
    assert head["loss_decode"][0]["class_weight"] == [1.0, 2.0]
    assert "class_weight" not in head["loss_decode"][1]


def test_class_weights_reach_the_auxiliary_head_and_losses_do_not():
    beside = {"type": "mmseg.FCNHead", "loss_decode": {"type": "CrossEntropyLoss", "loss_weight": 0.4}}
    changed = with_losses(model(auxiliary_head=beside), {"dice": 1.0}, [1.0, 2.0], None)["auxiliary_head"]
    assert changed["loss_decode"] == {"type": "CrossEntropyLoss", "loss_weight": 0.4, "class_weight": [1.0, 2.0]}


def test_hard_pixels_are_sampled():
    assert with_losses(model(), None, None, {"thresh": 0.7})["decode_head"]["sampler"] == {
        "type": "OHEMPixelSampler",
        "thresh": 0.7,
    }


def test_a_head_that_classifies_masks_keeps_its_own():
    given = {"decode_head": {"type": "mmseg.Mask2FormerHead"}}
    assert with_losses(given, None, None, None) == given
    with pytest.raises(ConfigError, match="Mask2FormerHead classifies masks and has losses of its own"):
        with_losses(given, {"dice": 1.0}, None, None)
