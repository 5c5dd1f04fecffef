"""Soft Dice and the distance to borders, of logits and label images."""

import numpy as np
import pytest
import torch

from densekit.models.losses import BorderDistanceLoss, PixelFocalLoss, SoftDiceLoss
from densekit.models.losses.label_images import signed_distance
from densekit.structures.label_images import IGNORED

LABELS = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2]]])


def logits_of(labels, classes=4, sure=20.0):
    """Logits that are as sure of these labels."""
    known = torch.where(labels == IGNORED, 0, labels)
    return sure * torch.nn.functional.one_hot(known, classes).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("loss", [SoftDiceLoss(), BorderDistanceLoss(), PixelFocalLoss()])
def test_what_is_right_costs_less_than_what_is_wrong(loss):
    wrong = (LABELS + 1) % 3
    assert loss(logits_of(LABELS), LABELS) < loss(logits_of(LABELS, sure=0.1), LABELS) < loss(logits_of(wrong), LABELS)


def test_dice_is_that_of_the_equation():
    logits = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 5, 6), generator=torch.Generator().manual_seed(1))
    labels[0, :2] = IGNORED
    expected, share = [], logits.softmax(1)
    for label in range(3):
        there, p = (labels == label).float(), torch.where(labels == IGNORED, 0, share[:, label])
        expected.append((2 * (there * p).sum() + 1) / (there.sum() + p.sum() + 1))
    assert SoftDiceLoss()(logits, labels) == pytest.approx(1 - float(sum(expected)) / 3, rel=1e-5)


def test_classes_that_are_not_there_say_nothing():
    assert SoftDiceLoss()(logits_of(LABELS, classes=9, sure=50), LABELS) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [SoftDiceLoss(loss_weight=3.0), BorderDistanceLoss(), PixelFocalLoss()])
def test_what_is_predicted_at_ignored_pixels_changes_nothing(loss):
    labels = LABELS.clone()
    labels[0, :, 3] = IGNORED
    one = torch.randn(1, 4, 3, 4, generator=torch.Generator().manual_seed(0))
    other = one.clone()
    other[..., 3] = 7 * torch.arange(4)[:, None]
    assert loss(one, labels) == pytest.approx(float(loss(other, labels)), rel=1e-6)


@pytest.mark.parametrize("loss", [SoftDiceLoss(), BorderDistanceLoss(), PixelFocalLoss()])
def test_nothing_but_ignored_pixels_costs_nothing(loss):
    logits = torch.randn(1, 4, 3, 4, requires_grad=True)
    found = loss(logits, torch.full((1, 3, 4), IGNORED))
    found.backward()
    assert found == 0
    assert not logits.grad.any()


def test_distances_are_negative_inside_and_grow_with_the_distance():
    inside = np.zeros((1, 8), bool)
    inside[0, 2:5] = True
    assert (signed_distance(inside) * 8).tolist() == [[2, 1, 0, -1, 0, 1, 2, 3]]
    assert not signed_distance(np.ones((3, 3), bool)).any()


def test_the_border_loss_does_not_grow_with_the_size():
    small = torch.zeros(1, 32, 32, dtype=torch.long)
    small[:, 8:24, 8:24] = 1
    large = small.repeat_interleave(4, 1).repeat_interleave(4, 2)
    costs = [float(BorderDistanceLoss()(logits_of((labels + 1) % 2, 2), labels)) for labels in (small, large)]
    assert costs[0] == pytest.approx(costs[1], rel=0.1)


def test_a_focal_loss_without_focus_is_cross_entropy():
    logits = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 5, 6), generator=torch.Generator().manual_seed(1))
    labels[0, :2] = IGNORED
    expected = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED)
    assert PixelFocalLoss(gamma=0.0)(logits, labels) == pytest.approx(float(expected), rel=1e-5)
    assert PixelFocalLoss()(logits, labels) < expected
