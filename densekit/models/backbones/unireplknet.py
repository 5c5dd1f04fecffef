"""UniRepLKNet: large depth-wise kernels that are trained as several and merged into one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from densekit.errors import ConfigError
from densekit.models.backbones.image_backbone import ImageBackbone
from densekit.models.layers.channel_norm import ChannelNorm
from densekit.models.layers.initialize import initialize_convnet
from densekit.models.layers.of_torchvision import squeeze_excitation, stochastic_depth
from densekit.models.layers.unit_attention import drop_path_rates
from densekit.registry import MODELS

BRANCHES = {
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}
"""Kernels and dilations that are trained beside a large kernel; smaller ones than these have none."""


def _depthwise(dim: int, kernel: int, dilation: int = 1, *, bias: bool = False) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(dim, dim, kernel, padding=padding, dilation=dilation, groups=dim, bias=bias)


def _fused(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution and the batch norm behind it, as one."""
    return fuse_conv_bn_weights(weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)


class DilatedReparameterizedConv(nn.ModuleDict):
    """A large depth-wise kernel and dilated small ones, each with its batch norm, summed.

    Args:
        dim: Channels.
        kernel: Side of the large one, one of :data:`BRANCHES`.
    """

    def __init__(self, dim: int, kernel: int):
        branches = ((kernel, 1), *BRANCHES[kernel])
        super().__init__({f"{k}_{r}": nn.Sequential(_depthwise(dim, k, r), nn.BatchNorm2d(dim)) for k, r in branches})

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return sum(branch(x) for branch in self.values())

    @torch.no_grad()
    def merged(self) -> tuple[Tensor, Tensor]:
        """Weight ``(C, 1, K, K)`` and bias ``(C,)`` of the one convolution that does the same in eval mode."""
        (conv, norm), *others = self.values()
        weight, bias = _fused(conv.weight, None, norm)
        for conv, norm in others:
            (small, offset), rate = _fused(conv.weight, None, norm), conv.dilation[0]
            reach = rate * (small.shape[-1] // 2)
            taps = slice(weight.shape[-1] // 2 - reach, weight.shape[-1] // 2 + reach + 1, rate)
            weight[..., taps, taps] += small
            bias += offset
        return weight, bias


class GlobalResponseNorm(nn.Module):
    """Channels compete by their norm over the whole map (ConvNeXt V2), channels last.

    Args:
        dim: Channels.
        bias: Whether an offset is learnt.
    """

    def __init__(self, dim: int, *, bias: bool):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(dim))
        self.beta = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same shape."""
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        x = (1 + self.gamma * norm / (norm.mean(-1, keepdim=True) + 1e-6)) * x
        return x if self.beta is None else x + self.beta


class UniRepLKNetBlock(nn.Module):
    """Depth-wise convolution, squeeze and excitation, and a feed-forward network with a global response norm.

    Args:
        dim: Channels.
        kernel: Side of the depth-wise convolution.
        drop_path: Rate of stochastic depth.
        deploy: Build it merged.
    """

    def __init__(self, dim: int, kernel: int, drop_path: float, *, deploy: bool):
        super().__init__()
        large = kernel in BRANCHES and not deploy
        self.depthwise = DilatedReparameterizedConv(dim, kernel) if large else _depthwise(dim, kernel, bias=deploy)
        self.norm = nn.Identity() if deploy else nn.BatchNorm2d(dim)
        self.se = squeeze_excitation(dim, dim // 4)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim, bias=deploy)
        self.grn = GlobalResponseNorm(4 * dim, bias=not deploy)
        self.norm2 = nn.Identity() if deploy else nn.BatchNorm2d(dim)
        self.gamma = None if deploy else nn.Parameter(torch.full((dim,), 1e-6))
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        y = self.se(self.norm(self.depthwise(x))).permute(0, 2, 3, 1)
        y = self.norm2(self.fc2(self.grn(F.gelu(self.fc1(y)))).permute(0, 3, 1, 2))
        return x + self.drop_path(y if self.gamma is None else self.gamma.view(-1, 1, 1) * y)

    @torch.no_grad()
    def merge(self) -> None:
        """Fold batch norms, dilated kernels, layer scale and the offset before ``fc2`` into their neighbours."""
        if self.gamma is None:
            return
        large = isinstance(self.depthwise, DilatedReparameterizedConv)
        weight, bias = self.depthwise.merged() if large else (self.depthwise.weight, None)
        weight, bias = _fused(weight, bias, self.norm)
        self.depthwise = _depthwise(len(weight), weight.shape[-1], bias=True)
        self.depthwise.weight, self.depthwise.bias = nn.Parameter(weight), nn.Parameter(bias)
        norm, beta = self.norm2, self.fc2.weight @ self.grn.beta
        weight, bias = fuse_linear_bn_weights(
            self.fc2.weight, beta, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        self.fc2.weight, self.fc2.bias = nn.Parameter(self.gamma[:, None] * weight), nn.Parameter(self.gamma * bias)
        self.norm, self.norm2, self.gamma, self.grn.beta = nn.Identity(), nn.Identity(), None, None


_OFFICIAL = (
    (r"^downsample_layers\.", "downsamplings."),
    (r"^norm(\d)\.", r"out_norms.\1."),
    (r"\.dwconv\.dil_conv_k(\d+_\d+)\.", r".depthwise.\1.0."),
    (r"\.dwconv\.dil_bn_k(\d+_\d+)\.", r".depthwise.\1.1."),
    (r"\.dwconv\.(lk_origin\.)?", ".depthwise."),
    (r"\.se\.down\.", ".se.fc1."),
    (r"\.se\.up\.", ".se.fc2."),
    (r"\.pwconv1\.1\.", ".fc1."),
    (r"\.pwconv2\.0\.", ".fc2."),
    (r"\.pwconv2\.2\.", ".norm2."),
    (r"\.act\.1\.", ".grn."),
)


def rename_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as AILab-CVC's UniRepLKNet names them, merged or not, to ours; other names stay as they are."""
    found = {}
    for key, value in weights.items():
        name, block = key, key.partition("dwconv.")[0]
        if f"{block}dwconv.origin_bn.weight" in weights:
            side = weights[f"{block}dwconv.lk_origin.weight"].shape[-1]
            name = name.replace("dwconv.lk_origin", f"depthwise.{side}_1.0")
            name = name.replace("dwconv.origin_bn", f"depthwise.{side}_1.1")
        for pattern, ours in _OFFICIAL:
            name = re.sub(pattern, ours, name)
        found[name] = value.flatten() if ".grn." in name else value
    return found


@MODELS.register_module()
class UniRepLKNet(ImageBackbone):
    """A convolutional network with depth-wise kernels of 13x13.

    Source: Ding et al., "UniRepLKNet: A Universal Perception Large-Kernel ConvNet for Audio, Video, Point Cloud,
    Time-Series and Image Recognition", CVPR 2024.

    Args:
        widths: Channels of each stage.
        depths: Blocks of each stage.
        kernels: Sides of the depth-wise convolutions of each stage; its blocks take them in turn.
        deploy: Build it merged, for merged weights; see :meth:`merge`.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
        in_channels: See :class:`~densekit.models.backbones.image_backbone.ImageBackbone`, with the arguments below.
        out_indices: Stages whose maps are given.
        out_norm: Norm of the maps.
        frozen_stages: Stages that do not learn.
        pretrained: File of weights.

    Raises:
        ConfigError: for a stage or kernel that does not exist, or a rate that is no probability.
    """

    rename_official = staticmethod(rename_official)

    def __init__(
        self,
        *,
        widths: Sequence[int] = (40, 80, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        kernels: Sequence[Sequence[int]] = ((3,), (13,), (13,), (13,)),
        deploy: bool = False,
        drop_path_rate: float = 0.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norm: str | None = "ln",
        frozen_stages: int = -1,
        pretrained: str | None = None,
    ):
        for side in {side for stage in kernels for side in stage} - {3, 5, *BRANCHES}:
            raise ConfigError(f"UniRepLKNet: kernels: {side!r} is none of {', '.join(map(str, (3, 5, *BRANCHES)))}")
        first = widths[0]
        downsamplings = [
            nn.Sequential(*_halving(in_channels, first // 2), nn.GELU(), *_halving(first // 2, first)),
            *(nn.Sequential(*_halving(a, b)) for a, b in pairwise(widths)),
        ]
        stages = [
            nn.Sequential(
                *(UniRepLKNetBlock(dim, sides[j % len(sides)], r, deploy=deploy) for j, r in enumerate(rates))
            )
            for dim, sides, rates in zip(widths, kernels, drop_path_rates(drop_path_rate, depths), strict=True)
        ]
        super().__init__(
            downsamplings,
            stages,
            widths=widths,
            in_channels=in_channels,
            out_indices=out_indices,
            out_norm=out_norm,
            frozen_stages=frozen_stages,
            pretrained=pretrained,
        )
        initialize_convnet(self)

    def merge(self) -> None:
        """Make each block's parallel convolutions and norms one convolution, in place: in eval mode the maps stay the
        same and come sooner; it cannot be trained on as before."""
        for stage in self.stages:
            for block in stage:
                block.merge()


def _halving(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, stride=2, padding=1), ChannelNorm(after, eps=1e-6)
