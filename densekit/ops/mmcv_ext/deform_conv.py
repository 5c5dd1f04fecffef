"""Deformable convolution (Dai et al. 2017, arXiv:1703.06211), also modulated (Zhu et al. 2019, arXiv:1811.11168).

``offset`` is ``(B, 2 * deform_groups * kh * kw, H', W')`` with ``(dy, dx)`` by turns for each tap, ``mask`` has half as
many channels: mmcv's layout is torchvision's. The result has the dtype of ``offset``, which autocast decides; it is
computed in float32 or float64.
"""

from __future__ import annotations

import torchvision.ops
from torch import Tensor
from torch.nn.modules.utils import _pair

from densekit.errors import ConfigError
from densekit.ops.mmcv_ext.numerics import compute_dtype, vector_jacobian


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Tensor:
    """Deformable convolution v1 with mmcv's arguments; ``im2col_step`` concerns mmcv's kernel, any batch size works.

    Args:
        input: ``(B, C, H, W)``; it may be smaller than the kernel as long as the padded one is not.
        offset: See above, in pixels.
        weight: ``(C_out, C / groups, kh, kw)``.

    Returns:
        ``(B, C_out, H', W')``.

    Raises:
        ConfigError: if ``bias`` is asked for, or a shape contradicts ``groups`` or ``deform_groups``.
    """
    if bias:
        raise ConfigError("deform_conv2d: bias=True, but version 1 has no bias: use modulated_deform_conv2d")
    return _convolve(input, offset, None, weight, None, stride, padding, dilation, groups, deform_groups)


def modulated_deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Deformable convolution v2: each tap is also weighed by ``mask``. Otherwise as :func:`deform_conv2d`."""
    return _convolve(input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups)


def _convolve(input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups) -> Tensor:
    # torchvision takes both numbers of groups from the shapes; a contradiction would go unnoticed.
    wanted = 2 * deform_groups * weight.shape[2] * weight.shape[3]
    if offset.shape[1] != wanted:
        raise ConfigError(
            f"deformable convolution: offset has {offset.shape[1]} channels, deform_groups={deform_groups} "
            f"needs {wanted}"
        )
    if weight.shape[1] * groups != input.shape[1]:
        raise ConfigError(
            f"deformable convolution: input has {input.shape[1]} channels, a weight {tuple(weight.shape)} with "
            f"groups={groups} needs {weight.shape[1] * groups}"
        )
    dtype = compute_dtype(offset)
    mask, bias = (None if tensor is None else tensor.to(dtype) for tensor in (mask, bias))
    window = _pair(stride), _pair(padding), _pair(dilation)
    output = torchvision.ops.deform_conv2d(input.to(dtype), offset.to(dtype), weight.to(dtype), bias, *window, mask)
    return output.to(offset.dtype)


def deform_conv_forward(
    input, weight, offset, output, columns, ones,
    kW, kH, dW, dH, padW, padH, dilationW, dilationH, group, deformable_group, im2col_step,
) -> None:  # fmt: skip
    """Writes ``output``; ``columns`` and ``ones`` are the compiled kernel's work space."""
    window = (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group
    output.copy_(deform_conv2d(input, offset, weight, *window))


def deform_conv_backward_input(
    input, offset, gradOutput, gradInput, gradOffset, weight, columns,
    kW, kH, dW, dH, padW, padH, dilationW, dilationH, group, deformable_group, im2col_step,
) -> None:  # fmt: skip
    """Writes ``gradInput`` and ``gradOffset``."""
    window = (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group
    gradients = vector_jacobian(lambda i, o: deform_conv2d(i, o, weight, *window), [input, offset], gradOutput)
    gradInput.copy_(gradients[0])
    gradOffset.copy_(gradients[1])


def deform_conv_backward_parameters(
    input, offset, gradOutput, gradWeight, columns, ones,
    kW, kH, dW, dH, padW, padH, dilationW, dilationH, group, deformable_group, scale, im2col_step,
) -> None:  # fmt: skip
    """Adds ``scale`` times the gradient to ``gradWeight``, which also tells the shape of the weight."""
    window = (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group
    # Linear in the weight, so the gradient is the same at any weight.
    (gradient,) = vector_jacobian(lambda w: deform_conv2d(input, offset, w, *window), [gradWeight], gradOutput)
    gradWeight.add_(gradient, alpha=scale)


def modulated_deform_conv_forward(
    input, weight, bias, ones, offset, mask, output, columns,
    kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group, with_bias,
) -> None:  # fmt: skip
    """Writes ``output``; ``ones`` and ``columns`` are the compiled kernel's work space."""
    window = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group
    output.copy_(modulated_deform_conv2d(input, offset, mask, weight, bias if with_bias else None, *window))


def modulated_deform_conv_backward(
    input, weight, bias, ones, offset, mask, columns,
    grad_input, grad_weight, grad_bias, grad_offset, grad_mask, grad_output,
    kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group, with_bias,
) -> None:  # fmt: skip
    """Writes the five gradients (that of the bias only if there is one)."""
    window = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group
    inputs, outputs = [input, offset, mask, weight], [grad_input, grad_offset, grad_mask, grad_weight]
    if with_bias:
        inputs.append(bias)
        outputs.append(grad_bias)

    def convolve(i, o, m, w, b=None):
        return modulated_deform_conv2d(i, o, m, w, b, *window)

    for written, gradient in zip(outputs, vector_jacobian(convolve, inputs, grad_output), strict=True):
        written.copy_(gradient)
