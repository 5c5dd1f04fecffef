"""HorNet: convolutions that multiply, of higher and higher order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.models.backbones.image_backbone import ImageBackbone
from densekit.models.layers.channel_norm import ChannelNorm
from densekit.models.layers.initialize import initialize_convnet
from densekit.models.layers.of_torchvision import stochastic_depth
from densekit.models.layers.unit_attention import drop_path_rates
from densekit.registry import MODELS

SCALE = 1 / 3
"""Of what the gates multiply with, as the published networks have it."""


class GlobalLocalFilter(nn.Module):
    """Half of the channels through a 3x3 depth-wise convolution, half multiplied with learnt weights per frequency.

    Args:
        dim: Channels.
        size: Rows and columns of the half spectrum that the weights are learnt for: (14, 8) for maps of 14x14. For
            maps of other sizes they are interpolated.
    """

    def __init__(self, dim: int, size: Sequence[int]):
        super().__init__()
        self.dw = nn.Conv2d(dim // 2, dim // 2, 3, padding=1, groups=dim // 2, bias=False)
        self.complex_weight = nn.Parameter(0.02 * torch.randn(dim // 2, *size, 2))
        self.pre_norm, self.post_norm = ChannelNorm(dim, eps=1e-6), ChannelNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        local, spread = self.pre_norm(x).chunk(2, dim=1)
        spectrum = torch.fft.rfft2(spread.float(), norm="ortho")  # torch.fft knows no bfloat16
        weight = self.complex_weight
        if weight.shape[1:3] != spectrum.shape[2:]:
            planes = weight.permute(3, 0, 1, 2)
            planes = F.interpolate(planes, size=spectrum.shape[2:], mode="bilinear", align_corners=True)
            weight = planes.permute(1, 2, 3, 0)
        spectrum = spectrum * torch.view_as_complex(weight.float().contiguous())
        spread = torch.fft.irfft2(spectrum, s=x.shape[2:], norm="ortho")
        local = self.dw(local)
        return self.post_norm(torch.stack([local, spread.to(local.dtype)], dim=2).flatten(1, 2))


class GatedConv(nn.Module):
    """Recursive gated convolution: a narrow map multiplied with ever wider ones, paper eq. 3.

    Args:
        dim: Channels.
        order: Number of products.
        size: Of the spectrum of a :class:`GlobalLocalFilter`; None: a 7x7 depth-wise convolution instead.
    """

    def __init__(self, dim: int, order: int, size: Sequence[int] | None):
        super().__init__()
        self.dims = [dim // 2**i for i in reversed(range(order))]
        total = sum(self.dims)
        self.proj_in, self.proj_out = nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(dim, dim, 1)
        self.dwconv = GlobalLocalFilter(total, size) if size else nn.Conv2d(total, total, 7, padding=3, groups=total)
        self.projs = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(self.dims))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        x, gates = self.proj_in(x).split((self.dims[0], sum(self.dims)), dim=1)
        first, *others = (self.dwconv(gates) * SCALE).split(self.dims, dim=1)
        x = x * first
        for proj, gate in zip(self.projs, others, strict=True):
            x = proj(x) * gate
        return self.proj_out(x)


class HorNetBlock(nn.Module):
    """Recursive gated convolution, then feed-forward network, each scaled and beside a shortcut."""

    def __init__(self, dim: int, order: int, size: Sequence[int] | None, drop_path: float):
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.gnconv = GatedConv(dim, order, size)
        self.pwconv1, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gamma1, self.gamma2 = (nn.Parameter(torch.full((dim,), 1e-6)) for _ in range(2))
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        x = x + self.drop_path(self.gamma1.view(-1, 1, 1) * self.gnconv(self.norm1(x)))
        y = self.gamma2 * self.pwconv2(F.gelu(self.pwconv1(self.norm2(x.permute(0, 2, 3, 1)))))
        return x + self.drop_path(y.permute(0, 3, 1, 2))


def rename_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as the official code or MMPretrain names them, to ours; other names stay as they are."""
    found = {}
    for key, value in weights.items():
        name = re.sub(r"^downsample_layers\.", "downsamplings.", key)
        name = re.sub(r"^norm(\d)\.", r"out_norms.\1.", name).replace(".gnconv.pws.", ".gnconv.projs.")
        found[re.sub(r"\.gamma([12])\.weight$", r".gamma\1", name)] = value
    return found


@MODELS.register_module()
class HorNet(ImageBackbone):
    """A convolutional network whose maps multiply each other, as attention makes them, at the cost of a convolution.

    Source: Rao et al., "HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions", NeurIPS
    2022.

    Args:
        widths: Channels of each stage.
        depths: Blocks of each stage.
        orders: Of the gated convolutions of each stage.
        filters: Of each stage, the size (rows, columns) of the half spectrum of its global filters, or None for 7x7
            depth-wise convolutions; see :class:`GlobalLocalFilter`.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
        in_channels: See :class:`~densekit.models.backbones.image_backbone.ImageBackbone`, with the arguments below.
        out_indices: Stages whose maps are given.
        out_norm: Norm of the maps.
        frozen_stages: Stages that do not learn.
        pretrained: File of weights.

    Raises:
        ConfigError: for a stage that does not exist, or a rate that is no probability.
    """

    rename_official = staticmethod(rename_official)
    size_multiple = 32

    def __init__(
        self,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        depths: Sequence[int] = (2, 3, 18, 2),
        orders: Sequence[int] = (2, 3, 4, 5),
        filters: Sequence[Sequence[int] | None] = (None, None, None, None),
        drop_path_rate: float = 0.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norm: str | None = "ln",
        frozen_stages: int = -1,
        pretrained: str | None = None,
    ):
        first = widths[0]
        downsamplings = [
            nn.Sequential(nn.Conv2d(in_channels, first, 4, stride=4), ChannelNorm(first, eps=1e-6)),
            *(nn.Sequential(ChannelNorm(a, eps=1e-6), nn.Conv2d(a, b, 2, stride=2)) for a, b in pairwise(widths)),
        ]
        rates = drop_path_rates(drop_path_rate, depths)
        stages = [
            nn.Sequential(*(HorNetBlock(dim, order, size, rate) for rate in of_stage))
            for dim, order, size, of_stage in zip(widths, orders, filters, rates, strict=True)
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
