"""CARAFE (Wang et al. 2019, arXiv:1905.02188): an upsampled pixel is a window of the input, weighed by its own kernel.

mmcv has it on CUDA only; this one takes ``kernel_size ** 2`` times the memory of the input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from densekit.ops.mmcv_ext.numerics import compute_dtype, vector_jacobian


def reassemble(features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int) -> Tensor:
    """Equation 4 of the paper; outside the input there are zeros.

    Args:
        features: ``(B, C, H, W)``.
        masks: ``(B, group_size * kernel_size ** 2, H * scale_factor, W * scale_factor)``, the kernels.
        kernel_size: Odd side of the window.
        group_size: Groups of channels that share a kernel.
        scale_factor: Output pixels per input pixel and axis.

    Returns:
        ``(B, C, H * scale_factor, W * scale_factor)`` in the dtype of ``features``.
    """
    dtype = compute_dtype(features)
    batch, channels, height, width = features.shape
    taps = kernel_size**2
    windows = F.unfold(features.to(dtype), kernel_size, padding=kernel_size // 2)
    windows = windows.view(batch, group_size, channels // group_size, taps, height, width)
    kernels = masks.to(dtype).view(batch, group_size, taps, height, scale_factor, width, scale_factor)
    output = torch.einsum("bgcthw,bgthiwj->bgchiwj", windows, kernels)
    return output.reshape(batch, channels, height * scale_factor, width * scale_factor).to(features.dtype)


def carafe_forward(features, masks, rfeatures, routput, rmasks, output, kernel_size, group_size, scale_factor) -> None:
    """Writes ``output``, and to ``rfeatures``, which mmcv hands to the backward pass, the features."""
    rfeatures.copy_(features)
    output.copy_(reassemble(features, masks, kernel_size, group_size, scale_factor))


def carafe_backward(
    grad_output, rfeatures, masks, rgrad_output, rgrad_input_hs, rgrad_input, rgrad_masks, grad_input, grad_masks,
    kernel_size, group_size, scale_factor,
) -> None:  # fmt: skip
    """Writes ``grad_input`` and ``grad_masks``; the ``rgrad`` tensors are the compiled kernel's work space."""
    carafe_naive_backward(grad_output, rfeatures, masks, grad_input, grad_masks, kernel_size, group_size, scale_factor)


def carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor) -> None:
    """Writes ``output``."""
    output.copy_(reassemble(features, masks, kernel_size, group_size, scale_factor))


def carafe_naive_backward(
    grad_output, features, masks, grad_input, grad_masks, kernel_size, group_size, scale_factor
) -> None:
    """Writes ``grad_input`` and ``grad_masks``."""
    options = kernel_size, group_size, scale_factor
    gradients = vector_jacobian(lambda f, m: reassemble(f, m, *options), [features, masks], grad_output)
    grad_input.copy_(gradients[0])
    grad_masks.copy_(gradients[1])
