"""Focal loss through mmcv.ops: known answers, torchvision's as reference, gradients by numeric differentiation."""

from math import log

import pytest
import torch
import torchvision.ops
from mmcv.ops import SigmoidFocalLoss, sigmoid_focal_loss, softmax_focal_loss

from densekit.errors import ConfigError


def test_sigmoid_known_answers(device):
    logits = torch.tensor([[0.0, 0.0], [100.0, -100.0]], device=device)
    loss = sigmoid_focal_loss(logits, torch.tensor([0, 2], device=device), 2.0, 0.25, None, "none").cpu()
    # p = 1/2: alpha (1 - p)^2 log 2 at the target, (1 - alpha) p^2 log 2 elsewhere. Background: nothing is a target.
    expected = torch.tensor([[0.25 * 0.25 * log(2), 0.75 * 0.25 * log(2)], [0.75 * 100, 0.0]])
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_sigmoid_equals_torchvisions(reduction, device):
    torch.manual_seed(0)
    logits, target = torch.randn(50, 7, device=device) * 5, torch.randint(0, 8, (50,), device=device)
    loss = sigmoid_focal_loss(logits, target, 1.5, 0.3, None, reduction)
    one_hot = torch.nn.functional.one_hot(target, 8)[:, :7].float()
    expected = torchvision.ops.sigmoid_focal_loss(logits, one_hot, alpha=0.3, gamma=1.5, reduction="none")
    expected = {"none": expected, "sum": expected.sum(), "mean": expected.sum() / 50}[reduction]
    torch.testing.assert_close(loss, expected)


def test_sigmoid_class_weights_leave_background_alone():
    logits, target = torch.zeros(3, 2), torch.tensor([0, 1, 2])
    plain = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, "none")
    weighted = SigmoidFocalLoss(2.0, 0.25, torch.tensor([3.0, 5.0]), "none")(logits, target)
    torch.testing.assert_close(weighted, plain * torch.tensor([[3.0], [5.0], [1.0]]))


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_sigmoid_gradient(gamma, weight):
    torch.manual_seed(0)
    logits = (torch.randn(8, 3, dtype=torch.float64) * 3).requires_grad_()
    target = torch.arange(8) % 4
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, target, gamma, 0.25, weight, "none"), (logits,))


def test_sigmoid_gradient_at_large_logits():
    logits = torch.tensor([[80.0, -80.0]], requires_grad=True)
    sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, "sum").backward()
    # By 1 - alpha per unit of a large logit of another class, by alpha per unit that the target's is too small.
    torch.testing.assert_close(logits.grad, torch.tensor([[0.75, -0.25]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sigmoid_in_16_bits(dtype, device):
    torch.manual_seed(0)
    logits, target = torch.randn(20, 5, device=device), torch.randint(0, 6, (20,), device=device)
    narrow = logits.to(dtype).requires_grad_()
    loss = sigmoid_focal_loss(narrow, target, 2.0, 0.25, None, "none")
    assert loss.dtype == dtype
    exact = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, "none")
    torch.testing.assert_close(loss.float(), exact, atol=0.02, rtol=0.02)
    loss.float().sum().backward()
    assert torch.isfinite(narrow.grad).all()


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(ConfigError, match=r"a label is 4, the model has 3 classes.*num_classes"):
        sigmoid_focal_loss(torch.zeros(2, 3), torch.tensor([0, 4]), 2.0, 0.25, None, "none")
    with pytest.raises(ConfigError, match=r"a label is 3, the model has 3 classes"):
        softmax_focal_loss(torch.zeros(2, 3), torch.tensor([0, 3]), 2.0, 0.25, None, "none")


def test_no_rows():
    assert sigmoid_focal_loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 2.0, 0.25, None, "sum") == 0


def test_softmax_known_answers(device):
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, log(2), 0.0], [0.0, 200.0, 0.0], [1.0, 2.0, 3.0]], device=device)
    target = torch.tensor([0, 1, 1, -1], device=device)
    loss = softmax_focal_loss(logits, target, 2.0, 0.25, None, "none").cpu()
    # p = 1/3, 1/2, 1; a negative target is ignored.
    torch.testing.assert_close(loss, torch.tensor([0.25 * 4 / 9 * log(3), 0.25 * 0.25 * log(2), 0.0, 0.0]))
    weight = torch.tensor([2.0, 3.0, 1.0], device=device)
    weighted = softmax_focal_loss(logits, target, 2.0, 0.25, weight, "none").cpu()
    torch.testing.assert_close(weighted, loss * torch.tensor([2.0, 3.0, 3.0, 1.0]))


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_softmax_gradient(gamma, weight, reduction):
    torch.manual_seed(0)
    logits = (torch.randn(6, 3, dtype=torch.float64) * 2).requires_grad_()
    target = torch.tensor([0, 1, 2, -1, 0, 1])
    # mmcv computes the softmax in place of a copy of its own, so the numeric side sees fresh inputs.
    function = lambda x: softmax_focal_loss(x.clone(), target, gamma, 0.25, weight, reduction)  # noqa: E731
    assert torch.autograd.gradcheck(function, (logits,))


def test_softmax_gradient_where_the_probability_is_one():
    logits = torch.tensor([[0.0, 300.0]], requires_grad=True)
    softmax_focal_loss(logits, torch.tensor([1]), 0.5, 0.25, None, "sum").backward()
    assert logits.grad.abs().max() == 0
