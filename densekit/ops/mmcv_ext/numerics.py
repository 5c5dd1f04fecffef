"""What the stand-ins share: the dtype they compute in, and gradients for mmcv's hand-written backward passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """float32 for the 16-bit types, which torchvision's kernels do not know everywhere; else the tensor's own."""
    return torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype


def vector_jacobian(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad_output: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of ``sum(function(*inputs) * grad_output)`` for the inputs, by running ``function`` once more."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        output = function(*leaves)
    return torch.autograd.grad(output, leaves, grad_output.to(output.dtype))
