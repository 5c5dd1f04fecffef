"""Focal loss (Lin et al. 2017, arXiv:1708.02002) for class indices: sigmoid and softmax, forward and gradient.

Computed from ``log sigmoid`` in float32 or float64, so that it stays right for large logits, where mmcv's kernel, which
takes the logarithm of a rounded probability, does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from densekit.errors import ConfigError
from densekit.ops.mmcv_ext.numerics import compute_dtype


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the loss of every logit.

    Args:
        input: ``(N, C)`` logits.
        target: ``(N,)`` int64 class indices; C is background.
        weight: ``(C,)``, the weight of a row by its class (background 1), or empty.
        output: ``(N, C)``, written: ``-alpha (1 - p)^gamma log p`` at the target, ``-(1 - alpha) p^gamma log(1 - p)``
            elsewhere.
        gamma: The focusing exponent.
        alpha: The weight of the positive term.
    """
    logits = input.to(compute_dtype(input))
    p = logits.sigmoid()
    loss = (alpha - 1) * p**gamma * F.logsigmoid(-logits)
    at_target = -alpha * (1 - p) ** gamma * F.logsigmoid(logits)
    output.copy_(_weighted(torch.where(_is_target(logits, target), at_target, loss), target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the derivative of every logit's loss for this logit into ``grad_input`` ``(N, C)``."""
    logits = input.to(compute_dtype(input))
    p = logits.sigmoid()
    slope = (1 - alpha) * p**gamma * (p - gamma * (1 - p) * F.logsigmoid(-logits))
    at_target = alpha * (1 - p) ** gamma * (gamma * p * F.logsigmoid(logits) - (1 - p))
    grad_input.copy_(_weighted(torch.where(_is_target(logits, target), at_target, slope), target, weight))


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the loss of every row.

    Args:
        input: ``(N, C)`` probabilities: mmcv has taken the softmax.
        target: ``(N,)`` int64 class indices; a negative one is ignored (loss 0).
        weight: ``(C,)``, the weight of a row by its class, or empty.
        output: ``(N,)``, written: ``-alpha (1 - p)^gamma log p``.
        gamma: The focusing exponent.
        alpha: The weight of the loss.
    """
    p, scale = _probability_and_weight(input, target, weight)
    output.copy_(-alpha * scale * (1 - p) ** gamma * p.log())


def softmax_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the derivative of every row's loss for its logits into ``grad_input`` ``(N, C)``; ``buff`` is ``(N,)``."""
    p, scale = _probability_and_weight(input, target, weight)
    # p times the derivative of the loss for p. Where p is 1 the second term is 0, whatever a gamma below 1 makes of it.
    power = torch.where(p < 1, gamma * (1 - p) ** (gamma - 1) * p * p.log(), 0.0)
    buff.copy_(alpha * scale * (power - (1 - p) ** gamma))
    grad_input.copy_(buff[:, None] * (F.one_hot(target.clamp(min=0), input.shape[1]) - input))


def _is_target(logits: Tensor, target: Tensor) -> Tensor:
    """``(N, C)``: whether column c is the target of row n."""
    classes = logits.shape[1]
    if target.numel() and int(target.max()) > classes:
        raise ConfigError(
            f"focal loss: a label is {int(target.max())}, the model has {classes} classes (0 to {classes - 1}; "
            f"{classes} is background): set num_classes of the head to the number of classes of the data"
        )
    return target[:, None] == torch.arange(classes, device=target.device)


def _weighted(loss: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """``loss`` ``(N, C)`` times the weight of each row's class; rows of background, which has none, are left alone."""
    if weight.numel() == 0:
        return loss
    classes = loss.shape[1]
    scale = torch.where((target >= 0) & (target < classes), weight[target.clamp(0, classes - 1)], 1.0)
    return loss * scale[:, None]


def _probability_and_weight(input: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of each row's target, kept from 0, and the row's weight: 0 where the target is to be ignored."""
    classes = input.shape[1]
    if target.numel() and int(target.max()) >= classes:
        raise ConfigError(
            f"softmax focal loss: a label is {int(target.max())}, the model has {classes} classes (0 to {classes - 1})"
        )
    index = target.clamp(min=0)
    probability = input.to(compute_dtype(input)).gather(1, index[:, None]).squeeze(1)
    scale = (target >= 0).to(probability.dtype)
    if weight.numel():
        scale = scale * weight[index]
    return probability.clamp(min=torch.finfo(torch.float32).tiny), scale
