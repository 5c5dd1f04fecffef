"""Features of regions: RoIAlign and RoIPool.

RoIs are ``(K, 5)``: the index of the image in the batch, then ``(x1, y1, x2, y2)`` in pixels of the image;
``spatial_scale`` takes them to the feature map.
"""

from __future__ import annotations

import torch
import torchvision.ops
from torch import Tensor
from torch.nn.modules.utils import _pair

from densekit.ops.mmcv_ext.missing import MissingOperatorError
from densekit.ops.mmcv_ext.numerics import compute_dtype, vector_jacobian

AVERAGE_MODES = ("avg", 1)


def roi_align(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str | int = "avg",
    aligned: bool = True,
) -> Tensor:
    """RoIAlign (He et al. 2017, arXiv:1703.06870) by torchvision, with mmcv's arguments.

    Args:
        input: ``(B, C, H, W)``.
        rois: ``(K, 5)``, in any floating dtype; they keep their digits where ``input`` is of a 16-bit type.
        output_size: ``(h, w)`` of the bins.
        spatial_scale: Pixels of ``input`` per pixel of the image.
        sampling_ratio: Samples per bin and axis; 0: as many as the bin has pixels.
        pool_mode: ``"avg"``.
        aligned: Whether pixel ``i`` lies at coordinate ``i + 0.5``; False repeats the first implementations.

    Returns:
        ``(K, C, h, w)`` in the dtype of ``input``.

    Raises:
        MissingOperatorError: for ``pool_mode="max"``.
    """
    if pool_mode not in AVERAGE_MODES:
        raise MissingOperatorError(
            f"mmcv operator roi_align with pool_mode={pool_mode!r}: densekit has no stand-in for it (it is wanted by a "
            "roi_layer of that pool_mode): leave pool_mode at 'avg', or install an mmcv that was built with its "
            "operators and set DENSEKIT_OPS=mmcv"
        )
    dtype = compute_dtype(input)
    output = torchvision.ops.roi_align(
        input.to(dtype), rois.to(dtype), _pair(output_size), float(spatial_scale), int(sampling_ratio), bool(aligned)
    )
    return output.to(input.dtype)


def roi_align_forward(
    input, rois, output, argmax_y, argmax_x,
    aligned_height, aligned_width, spatial_scale, sampling_ratio, pool_mode, aligned,
) -> None:  # fmt: skip
    """Writes ``output`` ``(K, C, h, w)``; ``argmax_y`` and ``argmax_x`` belong to the maximum and stay empty."""
    size = (aligned_height, aligned_width)
    output.copy_(roi_align(input, rois, size, spatial_scale, sampling_ratio, pool_mode, aligned))


def roi_align_backward(
    grad_output, rois, argmax_y, argmax_x, grad_input,
    aligned_height, aligned_width, spatial_scale, sampling_ratio, pool_mode, aligned,
) -> None:  # fmt: skip
    """Writes ``grad_input`` ``(B, C, H, W)``, which is the same at any input: RoIAlign is linear in it."""
    size = (aligned_height, aligned_width)
    options = (rois, size, spatial_scale, sampling_ratio, pool_mode, aligned)
    (gradient,) = vector_jacobian(lambda input: roi_align(input, *options), [torch.zeros_like(grad_input)], grad_output)
    grad_input.copy_(gradient)


def roi_pool_forward(input, rois, output, argmax, pooled_height, pooled_width, spatial_scale) -> None:
    """RoIPool (Girshick 2015, arXiv:1504.08083) as mmcv defines it; writes ``output`` and ``argmax`` ``(K, C, h, w)``.

    torchvision's RoIPool rounds the corners of a region to whole pixels, mmcv's only those of the bins. So each bin
    goes to torchvision as a region of its own, with corners that are whole already. ``argmax`` is ``y * W + x``, or -1
    in an empty bin.
    """
    dtype = compute_dtype(input)
    bins, empty = _pool_bins(rois.to(dtype), input.shape[-2:], (pooled_height, pooled_width), spatial_scale)
    # The operator behind torchvision.ops.roi_pool, which keeps the argmax to itself.
    values, where = torch.ops.torchvision.roi_pool(input.to(dtype), bins.flatten(0, 2), 1.0, 1, 1)
    values, where = (t.view(*bins.shape[:3], input.shape[1]).permute(0, 3, 1, 2) for t in (values, where))
    output.copy_(values.masked_fill(empty[:, None], 0))
    argmax.copy_(where.masked_fill(empty[:, None], -1))


def roi_pool_backward(grad_output, rois, argmax, grad_input, pooled_height, pooled_width, spatial_scale) -> None:
    """Writes ``grad_input`` ``(B, C, H, W)``: each bin's gradient goes to the pixel that was its maximum."""
    regions, channels = argmax.shape[:2]
    plane = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    where = plane.view(regions, channels, 1, 1) * grad_input[0, 0].numel() + argmax.clamp(min=0)
    gradient = grad_output.masked_fill(argmax < 0, 0)
    grad_input.zero_().view(-1).scatter_add_(0, where.flatten(), gradient.flatten())


def _pool_bins(rois: Tensor, shape, output_size: tuple[int, int], spatial_scale: float) -> tuple[Tensor, Tensor]:
    """Every bin as a region of whole pixels ``(K, h, w, 5)``, last pixel included; which are empty ``(K, h, w)``."""
    top_left, bottom_right = rois[:, 1:3] * spatial_scale, (rois[:, 3:5] + 1) * spatial_scale
    size = bottom_right - top_left
    starts, stops = [], []
    for axis, bins, limit in ((1, output_size[0], shape[0]), (0, output_size[1], shape[1])):
        step = torch.arange(bins + 1, device=rois.device, dtype=rois.dtype)
        edge = step * (size[:, axis, None] / bins) + top_left[:, axis, None]
        starts.append(edge[:, :-1].floor().clamp(0, limit))
        stops.append(edge[:, 1:].ceil().clamp(0, limit))
    grid = (len(rois), *output_size)
    y1, y2 = (edge[:, :, None].expand(grid) for edge in (starts[0], stops[0]))
    x1, x2 = (edge[:, None, :].expand(grid) for edge in (starts[1], stops[1]))
    empty = (y2 <= y1) | (x2 <= x1) | (size <= 0).any(1)[:, None, None]
    image = rois[:, 0, None, None].expand(grid)
    return torch.stack([image, x1, y1, x2 - 1, y2 - 1], -1), empty
