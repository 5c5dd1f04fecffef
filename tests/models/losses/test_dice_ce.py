"""Dice + cross-entropy against MONAI's."""

import pytest
import torch

from densekit.errors import ConfigError
from densekit.models.losses import DiceCELoss
from densekit.ops.unlabelled import UNLABELLED


def logits_and_label(classes=4, batch=3, size=(5, 6, 7)):
    label = torch.randint(0, classes, (batch, *size))
    label[0][label[0] == 2] = 0  # a class that one sample lacks
    return torch.randn(batch, classes, *size, requires_grad=True), label


@pytest.mark.parametrize("batch_dice", [False, True])
def test_value_and_gradient_equal_monais(batch_dice):
    from monai.losses import DiceCELoss as Reference

    logits, label = logits_and_label()
    reference = Reference(include_background=False, softmax=True, to_onehot_y=True, batch=batch_dice)
    expected = reference(logits, label[:, None])
    (wanted,) = torch.autograd.grad(expected, logits)
    found = sum(DiceCELoss(batch_dice=batch_dice)(logits, label).values())
    (gradient,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, wanted)


def test_dice_of_hand_made_masks():
    label = torch.zeros(1, 1, 1, 4, dtype=torch.uint8)
    label[..., 2:] = 1
    certain = 100 * torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 1]]).view(1, 2, 1, 1, 4)  # 3 predicted, 2 true, 2 common
    losses = DiceCELoss()(certain, label)
    assert losses["loss_dice"].item() == pytest.approx(1 - 2 * 2 / (3 + 2), abs=1e-4)
    assert losses["loss_ce"].item() == pytest.approx(100 / 4, abs=1e-4)


def test_batch_dice_pools_the_samples():
    label = torch.zeros(2, 1, 1, 4, dtype=torch.long)
    label[0] = 1
    certain = 100 * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1).expand(
        2, 2, 1, 1, 4
    )  # class 1 everywhere, true in one sample
    assert DiceCELoss(batch_dice=True)(certain, label)["loss_dice"].item() == pytest.approx(1 - 8 / 12, abs=1e-4)
    assert DiceCELoss(batch_dice=False)(certain, label)["loss_dice"].item() == pytest.approx(0.5, abs=1e-4)


def test_an_absent_class_that_is_not_predicted_costs_nothing():
    label = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    certain = 100 * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1, 1).expand(1, 3, 2, 2, 2)
    assert DiceCELoss()(certain, label)["loss_dice"].item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computed_in_float32_under_autocast(dtype):
    logits, label = logits_and_label(size=(32, 32, 32))
    low = logits.detach().to(dtype).requires_grad_()
    exact = DiceCELoss()(low.detach().float(), label)
    with torch.autocast("cpu", dtype):
        found = DiceCELoss()(low, label)
    assert all(value.dtype == torch.float32 for value in found.values())
    assert {k: v.item() for k, v in found.items()} == pytest.approx({k: v.item() for k, v in exact.items()})
    sum(found.values()).backward()
    assert torch.isfinite(low.grad).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_any_integer_label_type(dtype):
    logits, label = logits_and_label()
    assert DiceCELoss()(logits, label.to(dtype)) == DiceCELoss()(logits, label)


def test_label_outside_the_classes_names_both_numbers():
    logits, label = logits_and_label(classes=4)
    with pytest.raises(ConfigError, match="holds class -1"):
        DiceCELoss()(logits, label - 1)
    with pytest.raises(ConfigError, match=r"holds class 3, but the head has num_classes=3.*background included"):
        DiceCELoss()(logits[:, :3], label)


@pytest.mark.parametrize("batch_dice", [False, True])
def test_voxels_without_label_add_nothing(batch_dice):
    logits, label = logits_and_label(batch=2, size=(4, 6, 6))
    label[:, 2:] = UNLABELLED
    (whole,) = torch.autograd.grad(sum(DiceCELoss(batch_dice=batch_dice)(logits, label).values()), logits)
    found = DiceCELoss(batch_dice=batch_dice)(logits, label)
    expected = DiceCELoss(batch_dice=batch_dice)(logits[:, :, :2], label[:, :2])
    torch.testing.assert_close(found, expected)
    assert (whole[:, :, 2:] == 0).all() and (whole[:, :, :2] != 0).any()


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_a_sample_without_label_map_is_left_out_of_the_mean(batch_dice, dtype):
    logits, label = logits_and_label(batch=3)
    label[1] = UNLABELLED
    found = DiceCELoss(batch_dice=batch_dice)(logits, label.to(dtype))
    torch.testing.assert_close(found, DiceCELoss(batch_dice=batch_dice)(logits[[0, 2]], label[[0, 2]]))


def test_the_value_is_a_class_where_there_are_more_than_255():
    logits, label = torch.randn(1, 257, 2, 2, 2), torch.full((1, 2, 2, 2), UNLABELLED)
    assert DiceCELoss()(logits, label)["loss_ce"] > 0
    label[0, 0, 0, 0] = 300
    with pytest.raises(ConfigError, match="holds class 300"):
        DiceCELoss()(logits, label)


def test_a_class_that_is_not_there_is_named_beside_voxels_without_label():
    logits, label = logits_and_label(classes=4)
    label[0, 0] = UNLABELLED
    label[0, 1] = 7
    with pytest.raises(ConfigError, match="holds class 7, but the head has num_classes=4"):
        DiceCELoss()(logits, label)
