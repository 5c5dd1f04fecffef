"""Scale-equalizing pyramid convolution.

X. Wang, S. Zhang, Z. Yu, L. Feng, W. Zhang, *Scale-Equalizing Pyramid Convolution for Object Detection*, CVPR 2020,
arXiv 2005.03101.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import constant_init, normal_init
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from densekit.errors import ConfigError
from densekit.ops.mmcv_ext.deform_conv import deform_conv2d
from densekit.registry import MODELS

SIDE = 3
"""Of every kernel, in pixels."""
COARSER, SAME, FINER = range(3)
"""Which level, seen from the one that is computed, each of the three kernels of a :class:`PConv` reads."""


@MODELS.register_module()
class SEPC(nn.Module):
    """A 3D convolution over (scale, height, width) of a pyramid, in a row, then one convolution per task.

    It goes behind an FPN and takes the place of the two towers of a RetinaNet-like head: ``neck=[FPN, SEPC]``, with one
    of the paired heads of :mod:`densekit.models.heads.paired_heads`, which have predictors only.

    ================ ===== ============== ==============
    variant          ibn   pconv_deform   lcconv_deform
    ================ ===== ============== ==============
    PConv            no    no             no
    PConv + iBN      yes   no             no
    SEPC-lite        yes   no             yes
    SEPC             yes   yes            yes
    ================ ===== ============== ==============

    For a two-stage detector: ``ibn=False, pconv_deform=False, lcconv_deform=False, with_lc_convs=False``, and an
    ordinary head.

    Args:
        in_channels: Channels of every level.
        out_channels: Channels of every level of the result.
        num_levels: Number of levels.
        num_pconvs: How many :class:`PConv` in a row.
        ibn: Normalise after each with integrated batch norm. Its statistics need about 4 images per GPU; with fewer,
            use ``norm_cfg=dict(type="SyncBN")``.
        pconv_deform: Deform the kernels of the :class:`PConv`.
        lcconv_deform: Deform the convolutions per task.
        deform_start_level: First level (0 is the finest) whose kernels are deformed.
        lcconv_padding: Padding of the convolutions per task: 1, or 0 for the published weights, whose maps are 2 pixels
            smaller than the pyramid's, so that levels of 2 pixels fail.
        with_lc_convs: False: no convolutions per task, one map per level.
        align_corners: Of the bilinear upsampling; published weights were trained with True.
        norm_cfg: The batch norm of ``ibn``.

    Raises:
        ConfigError: for a norm that is not a batch norm.

    Attributes:
        pairs: Whether a level of the result is a pair (classification map, localisation map).
    """

    spatial_dims = 2
    levels = "equal"

    def __init__(
        self,
        in_channels: int = 256,
        out_channels: int = 256,
        *,
        num_levels: int = 5,
        num_pconvs: int = 4,
        ibn: bool = True,
        pconv_deform: bool = True,
        lcconv_deform: bool = True,
        deform_start_level: int = 1,
        lcconv_padding: int = 1,
        with_lc_convs: bool = True,
        align_corners: bool = True,
        norm_cfg: Mapping | None = None,
    ):
        super().__init__()
        self.in_channels = (in_channels,) * num_levels
        self.out_channels = (out_channels,) * num_levels
        self.pairs = with_lc_convs
        norm = (lambda: _batch_norm(norm_cfg, out_channels)) if ibn else (lambda: None)
        widths = (in_channels, *[out_channels] * num_pconvs)
        options = {"align_corners": align_corners, "deform": pconv_deform, "start_level": deform_start_level}
        self.pconvs = nn.ModuleList(PConv(*pair, norm=norm(), **options) for pair in pairwise(widths))
        if with_lc_convs:
            options = {"padding": lcconv_padding, "deform": lcconv_deform, "start_level": deform_start_level}
            self.cls_conv = SEPCConv(out_channels, out_channels, **options)
            self.loc_conv = SEPCConv(out_channels, out_channels, **options)
            self.cls_bn, self.loc_bn = norm(), norm()

    def strides_from(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Strides of the result, of maps with these."""
        return tuple(strides)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor | tuple[Tensor, Tensor], ...]:
        """Convolve a pyramid.

        Args:
            maps: ``(B, C, H_l, W_l)``, fine to coarse; each level has half the size of the one before, rounded up.

        Returns:
            Per level the pair ``(classification, localisation)`` of maps ``(B, C_out, H_l, W_l)``, or one such map
            without ``with_lc_convs``.

        Raises:
            ConfigError: for another number of levels or sizes that do not halve.
        """
        check_halving(maps, len(self.in_channels))
        if self.pairs and self.cls_conv.padding[0] == 0 and min(maps[-1].shape[2:]) < SIDE:
            raise ConfigError(
                f"SEPC: the coarsest level is {tuple(maps[-1].shape[2:])} and lcconv_padding=0 cuts off 2 pixels of "
                "it; give larger images, or lcconv_padding=1"
            )
        for pconv in self.pconvs:
            maps = pconv(maps)
        if not self.pairs:
            return tuple(maps)
        cls = _activate([self.cls_conv(x, level) for level, x in enumerate(maps)], self.cls_bn)
        loc = _activate([self.loc_conv(x, level) for level, x in enumerate(maps)], self.loc_bn)
        return tuple(zip(cls, loc, strict=True))


class PConv(nn.Module):
    """One pyramid convolution with scale kernel 3: each level sums what it and its two neighbours give it.

    The kernel that reads the finer level has stride 2; what comes from the coarser one is enlarged after its
    convolution. At the two ends a neighbour is missing and the sum has two terms.

    Args:
        in_channels, out_channels, align_corners: See :class:`SEPC`.
        norm: Batch norm for all levels together, or None.
        **deformation: ``deform`` and ``start_level`` of :class:`SEPCConv`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, norm: nn.Module | None, align_corners: bool, **deformation: Any
    ):
        super().__init__()
        self.align_corners = align_corners
        self.convs = nn.ModuleList(
            SEPCConv(in_channels, out_channels, stride=2 if reads == FINER else 1, **deformation)
            for reads in (COARSER, SAME, FINER)
        )
        self.bn = norm

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps ``(B, C, H_l, W_l)``, fine to coarse, to as many ``(B, C_out, H_l, W_l)``."""
        sums = []
        for level, x in enumerate(maps):
            y = self.convs[SAME](x, level)
            if level > 0:
                y = y + self.convs[FINER](maps[level - 1], level)
            if level + 1 < len(maps):
                coarse = self.convs[COARSER](maps[level + 1], level)
                y = y + F.interpolate(coarse, y.shape[2:], mode="bilinear", align_corners=self.align_corners)
            sums.append(y)
        return _activate(sums, self.bn)


class SEPCConv(nn.Conv2d):
    """A 3x3 convolution that is ordinary where it feeds a fine level and deformable where it feeds a coarse one.

    A pyramid of a CNN blurs more from level to level than a Gaussian pyramid does; the offsets make up for it. Version
    1 of deformable convolution, without modulation; offsets are predicted from the map the kernel itself reads, and all
    deformed levels share one offset convolution.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of the result.
        stride: Step in pixels.
        padding: Zeros around the map.
        deform: False: an ordinary convolution on every level.
        start_level: First level (0 is the finest) that is deformed.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        padding: int = 1,
        deform: bool = False,
        start_level: int = 1,
    ):
        super().__init__(in_channels, out_channels, SIDE, stride=stride, padding=padding)
        self.start_level = start_level
        self.conv_offset = nn.Conv2d(in_channels, 2 * SIDE**2, SIDE, stride=stride, padding=padding) if deform else None
        normal_init(self, std=0.01)
        if deform:
            constant_init(self.conv_offset, 0)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Convolve ``x`` ``(B, C, H, W)`` to feed ``level``, the level of the result, which need not be that of ``x``.

        Returns:
            ``(B, C_out, H', W')``.
        """
        if self.conv_offset is None or level < self.start_level:
            return super().forward(x)
        offset = self.conv_offset(x)
        y = deform_conv2d(x, offset, self.weight, self.stride, self.padding)
        return y + self.bias.to(y.dtype)[:, None, None]


def integrated_norm(norm: _BatchNorm, maps: Sequence[Tensor]) -> list[Tensor]:
    """Normalise all levels of a pyramid with common statistics, so that each level counts by its area.

    In training, mean and variance are those of the levels laid side by side. With running statistics that is the same
    as normalising each level by itself, which is what happens then.

    Args:
        norm: An ordinary batch norm, synchronised or not.
        maps: ``(B, C, H_l, W_l)`` per level.

    Returns:
        Maps of the same shapes.
    """
    if not norm.training and norm.running_mean is not None:
        return [norm(x) for x in maps]
    sizes = [x.shape[2:] for x in maps]
    together = norm(torch.cat([x.flatten(2) for x in maps], dim=2)[:, :, None])[:, :, 0]
    parts = together.split([size.numel() for size in sizes], dim=2)
    return [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


def check_halving(maps: Sequence[Tensor], levels: int) -> None:
    """Raise ConfigError unless there are ``levels`` maps, each of half the size of the one before, rounded up."""
    sizes = [tuple(x.shape[2:]) for x in maps]
    if len(sizes) != levels:
        raise ConfigError(
            f"SEPC: got {len(sizes)} levels and is set to take {levels}; set num_levels={len(sizes)}, or num_outs of "
            f"the FPN before it to {levels}"
        )
    for level in range(1, levels):
        wanted = tuple(math.ceil(n / 2) for n in sizes[level - 1])
        if sizes[level] != wanted:
            raise ConfigError(
                f"SEPC: level {level} is {sizes[level]}, but level {level - 1} is {sizes[level - 1]} and each must be "
                f"half the size of the one before, rounded up, here {wanted}; give it the maps of a backbone whose "
                "strides double, without a crop in between"
            )


def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the authors' code (jshilong/SEPC) in this class's words; other keys stay.

    Their weights expect ``lcconv_padding=0``, ``LegacyDeltaXYWHBBoxCoder`` and ``LegacyAnchorGenerator(center_offset=
    0.5)``.
    """
    words = {
        "Pconvs": "pconvs",
        "Pconv": "convs",
        "cconv": "cls_conv",
        "lconv": "loc_conv",
        "cbn": "cls_bn",
        "lbn": "loc_bn",
    }
    pattern = re.compile(rf"(?<![^.])({'|'.join(words)})(?=\.)")
    return {pattern.sub(lambda word: words[word[0]], key): value for key, value in state.items()}


def _batch_norm(norm_cfg: Mapping | None, channels: int) -> nn.Module:
    norm = build_norm_layer(dict(norm_cfg or {"type": "BN"}), channels)[1]
    if not isinstance(norm, _BatchNorm):
        raise ConfigError(
            f"SEPC.norm_cfg: integrated normalisation needs a batch norm, {type(norm).__name__} has no statistics of "
            "a batch to share between levels; set norm_cfg=dict(type='BN') or dict(type='SyncBN'), or ibn=False"
        )
    return norm


def _activate(maps: list[Tensor], norm: nn.Module | None) -> list[Tensor]:
    return [F.relu(x) for x in (maps if norm is None else integrated_norm(norm, maps))]
