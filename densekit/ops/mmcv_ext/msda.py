"""Multi-scale deformable attention (Zhu et al. 2021, arXiv:2010.04159, equation 3): a few samples a query and level."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from densekit.ops.mmcv_ext.numerics import compute_dtype, vector_jacobian


def multi_scale_deformable_attn(
    value: Tensor, value_spatial_shapes: Tensor, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """The weighted sum of bilinear samples; outside a level there are zeros.

    Args:
        value: ``(B, keys, heads, C)``, the levels one after another, each by rows.
        value_spatial_shapes: ``(levels, 2)``, (height, width) of each.
        sampling_locations: ``(B, Q, heads, levels, points, 2)``, (x, y) from 0 to 1 across a level. They keep their
            digits where ``value`` is of a 16-bit type.
        attention_weights: ``(B, Q, heads, levels, points)``.

    Returns:
        ``(B, Q, heads * C)`` in the dtype of ``value``.
    """
    dtype = compute_dtype(value)
    batch, _, heads, channels = value.shape
    levels = value.to(dtype).permute(0, 2, 3, 1).flatten(0, 1)  # (B * heads, C, keys)
    grids = (2 * sampling_locations.to(dtype) - 1).transpose(1, 2).flatten(0, 1)  # (B * heads, Q, levels, points, 2)
    weights = attention_weights.to(dtype).transpose(1, 2).flatten(0, 1)  # (B * heads, Q, levels, points)
    shapes = value_spatial_shapes.tolist()  # at once: on a GPU each read of a number would wait for it
    total = levels.new_zeros(batch * heads, channels, grids.shape[1])
    for index, (level, shape) in enumerate(zip(levels.split([h * w for h, w in shapes], -1), shapes, strict=True)):
        samples = F.grid_sample(level.unflatten(-1, shape), grids[:, :, index], align_corners=False)
        total = total + (samples * weights[:, None, :, index]).sum(-1)
    return total.view(batch, heads * channels, -1).transpose(1, 2).contiguous().to(value.dtype)


def ms_deform_attn_forward(
    value, spatial_shapes, level_start_index, sampling_locations, attention_weights, im2col_step
) -> Tensor:
    """As :func:`multi_scale_deformable_attn`, by mmcv's arguments; the levels' starts follow from their shapes."""
    return multi_scale_deformable_attn(value, spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value, spatial_shapes, level_start_index, sampling_locations, attention_weights,
    grad_output, grad_value, grad_sampling_loc, grad_attn_weight, im2col_step,
) -> None:  # fmt: skip
    """Writes the three gradients."""

    def attend(v: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return multi_scale_deformable_attn(v, spatial_shapes, locations, weights)

    gradients = vector_jacobian(attend, [value, sampling_locations, attention_weights], grad_output)
    for written, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True):
        written.copy_(gradient)
