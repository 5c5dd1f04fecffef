"""The weighting of several outputs, and the label map that each of them sees."""

import pytest
import torch
from torch import nn

from densekit.models.losses import DeepSupervisionLoss, DiceCELoss
from densekit.models.losses.deep_supervision import deep_supervision_weights, downsample_label
from densekit.ops.unlabelled import UNLABELLED


@pytest.mark.parametrize(("outputs", "weights"), [(1, [1]), (2, [2 / 3, 1 / 3]), (3, [4 / 7, 2 / 7, 1 / 7])])
def test_weights_halve_and_sum_to_one(outputs, weights):
    assert deep_supervision_weights(outputs) == pytest.approx(weights)


def test_deep_supervision_is_the_weighted_sum_over_thinned_labels():
    label = torch.randint(0, 3, (2, 8, 8, 6))
    outputs = [torch.randn(2, 3, *size) for size in [(8, 8, 6), (4, 4, 3), (2, 2, 2)]]
    parts = [
        DiceCELoss()(outputs[0], label),
        DiceCELoss()(outputs[1], label[:, ::2, ::2, ::2]),
        DiceCELoss()(outputs[2], label[:, ::4, ::4, ::4]),
    ]
    found = DeepSupervisionLoss()(outputs, label)
    for key, value in found.items():
        torch.testing.assert_close(value, (4 * parts[0][key] + 2 * parts[1][key] + parts[2][key]) / 7)


def test_a_batch_without_any_label_costs_nothing_and_can_be_learned_from():
    outputs = [torch.randn(2, 3, *size, requires_grad=True) for size in [(8, 8, 6), (4, 4, 3)]]
    losses = DeepSupervisionLoss()(outputs, torch.full((2, 8, 8, 6), UNLABELLED, dtype=torch.uint8))
    assert [value.item() for value in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert all((output.grad == 0).all() for output in outputs)


def test_outputs_of_equal_size_see_the_same_label():
    label, output = torch.randint(0, 3, (1, 4, 4, 4)), torch.randn(1, 3, 4, 4, 4)
    once, thrice = DeepSupervisionLoss()([output], label), DeepSupervisionLoss()([output] * 3, label)
    assert {k: v.item() for k, v in thrice.items()} == pytest.approx({k: v.item() for k, v in once.items()})


def test_inner_loss_from_a_config_or_a_module():
    assert DeepSupervisionLoss({"type": "DiceCELoss", "batch_dice": True}).loss.batch_dice

    class Constant(nn.Module):
        def forward(self, logits, label):
            return {"loss_one": logits.sum() * 0 + 1}

    label, outputs = torch.zeros(1, 4, 4, 4, dtype=torch.long), [torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 2, 2, 2)]
    assert DeepSupervisionLoss(Constant())(outputs, label) == {"loss_one": pytest.approx(1)}


def test_labels_are_thinned_from_the_first_voxel():
    label = torch.arange(7 * 4 * 3).view(1, 7, 4, 3)
    assert torch.equal(downsample_label(label, (4, 2, 3)), label[:, ::2, ::2])
    with pytest.raises(ValueError, match="cannot be thinned"):
        downsample_label(label, (5, 4, 3))
