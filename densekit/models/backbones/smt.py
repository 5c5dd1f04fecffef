"""SMT: convolutions of several sizes that modulate the map where it is large, attention where it is small."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.models.backbones.image_backbone import ImageBackbone
from densekit.models.backbones.mit import MiTStage
from densekit.models.layers.channel_norm import ChannelNorm
from densekit.models.layers.initialize import initialize_by_fan_out
from densekit.models.layers.of_torchvision import stochastic_depth
from densekit.models.layers.unit_attention import drop_path_rates
from densekit.registry import MODELS

KERNELS = (3, 5, 7, 9)
"""Of the depth-wise convolutions of a modulation, one per group of channels ("head")."""
HEADS = {2: 8, 3: 16}
"""Attention heads of the stages that have attention, counted from 0."""


class ScaleAwareModulation(nn.Module):
    """Values multiplied with a map of four scales, paper eqs. 1 to 4.

    Args:
        dim: Channels, a multiple of 4.
    """

    def __init__(self, dim: int):
        super().__init__()
        group = dim // len(KERNELS)
        self.v, self.s, self.proj = (nn.Linear(dim, dim) for _ in range(3))
        self.local = nn.ModuleList(nn.Conv2d(group, group, k, padding=k // 2, groups=group) for k in KERNELS)
        first = nn.Conv2d(dim, 2 * dim, 1, groups=group)
        self.aggregate = nn.Sequential(first, nn.BatchNorm2d(2 * dim), nn.GELU(), nn.Conv2d(2 * dim, dim, 1))

    def interleaved(self, x: Tensor) -> Tensor:
        """The scales ``(B, C, H, W)`` of a map ``(B, H, W, C)``: channel ``4 g + k`` is the g-th of scale k, so that
        each group of the next convolution sees all scales."""
        heads = self.s(x).permute(0, 3, 1, 2).chunk(len(KERNELS), dim=1)
        return torch.stack([conv(head) for conv, head in zip(self.local, heads, strict=True)], dim=2).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same shape."""
        return self.proj(self.aggregate(self.interleaved(x)).permute(0, 2, 3, 1) * self.v(x))


class GlobalAttention(nn.Module):
    """Attention of all places to all, and a depth-wise 3x3 convolution of the values."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.proj = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.local = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same shape."""
        key, value = self.kv(x).chunk(2, dim=-1)
        query, key, mixed = (
            t.flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (self.q(x), key, value)
        )
        out = F.scaled_dot_product_attention(query, key, mixed).transpose(1, 2).reshape(x.shape)
        return self.proj(out + self.local(value.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class SMTBlock(nn.Module):
    """Modulation or attention, then a feed-forward network, each after a norm and beside a shortcut.

    Args:
        dim: Channels.
        heads: Attention heads; None: modulation.
        ratio: Width of the feed-forward network over ``dim``.
        drop_path: Rate of stochastic depth.
    """

    def __init__(self, dim: int, heads: int | None, ratio: int, drop_path: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = GlobalAttention(dim, heads) if heads else ScaleAwareModulation(dim)
        self.fc1, self.fc2 = nn.Linear(dim, ratio * dim), nn.Linear(ratio * dim, dim)
        self.depthwise = nn.Conv2d(ratio * dim, ratio * dim, 3, padding=1, groups=ratio * dim)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        hidden = self.fc1(self.norm2(x))
        hidden = hidden + self.depthwise(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.drop_path(self.fc2(F.gelu(hidden)))


_OFFICIAL = (
    (r"\.attn\.local_conv\.", lambda _: ".attn.local."),
    (r"\.attn\.local_conv_(\d)\.", lambda m: f".attn.local.{int(m[1]) - 1}."),
    (r"\.attn\.proj0\.", lambda _: ".attn.aggregate.0."),
    (r"\.attn\.bn\.", lambda _: ".attn.aggregate.1."),
    (r"\.attn\.proj1\.", lambda _: ".attn.aggregate.3."),
    (r"\.mlp\.dwconv\.dwconv\.", lambda _: ".depthwise."),
    (r"\.mlp\.", lambda _: "."),
    (r"^patch_embed1\.conv\.", lambda _: "downsamplings.0."),
    (r"^patch_embed1\.norm\.", lambda _: "downsamplings.0.4."),
    (r"^patch_embed(\d)\.proj\.", lambda m: f"downsamplings.{int(m[1]) - 1}.0."),
    (r"^patch_embed(\d)\.norm\.", lambda m: f"downsamplings.{int(m[1]) - 1}.1."),
    (r"^block(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.blocks."),
    (r"^norm(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.norm."),
)


def rename_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as AFeng-x's SMT names them, to ours; other names stay as they are."""
    found = {}
    for key, value in weights.items():
        for pattern, ours in _OFFICIAL:
            key = re.sub(pattern, ours, key)
        found[key] = value
    return found


@MODELS.register_module()
class SMT(ImageBackbone):
    """Scale-aware modulation in the first stages, attention in the last, both in turn between.

    Source: Lin et al., "Scale-Aware Modulation Meet Transformer", ICCV 2023. Each stage ends with a norm, which is part
    of the model, so that the maps need no other. The attention of the third stage is global: its time grows with the
    square of the image's area.

    Args:
        widths: Channels of each stage; multiples of 4, 4, 8 and 16.
        depths: Blocks of each stage.
        ratios: Width of the feed-forward networks of each stage over its channels.
        stem_kernel: Side of the first convolution: 3, or 7 in the larger sizes.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
        in_channels: See :class:`~densekit.models.backbones.image_backbone.ImageBackbone`, with the arguments below.
        out_indices: Stages whose maps are given.
        out_norm: Another norm of the maps.
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
        depths: Sequence[int] = (2, 2, 8, 1),
        ratios: Sequence[int] = (4, 4, 4, 2),
        stem_kernel: int = 3,
        drop_path_rate: float = 0.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norm: str | None = None,
        frozen_stages: int = -1,
        pretrained: str | None = None,
    ):
        downsamplings, stages = [], []
        for i, rates in enumerate(drop_path_rates(drop_path_rate, depths)):
            dim = widths[i]
            if i == 0:
                conv = nn.Conv2d(in_channels, dim, stem_kernel, stride=2, padding=stem_kernel // 2, bias=False)
                layers = [conv, nn.BatchNorm2d(dim), nn.ReLU(inplace=True), nn.Conv2d(dim, dim, 2, stride=2)]
            else:
                layers = [nn.Conv2d(widths[i - 1], dim, 3, stride=2, padding=1)]
            downsamplings.append(nn.Sequential(*layers, ChannelNorm(dim)))
            heads = [HEADS[i] if i == 3 or (i == 2 and j % 2) else None for j in range(len(rates))]
            blocks = [SMTBlock(dim, of, ratios[i], rate) for of, rate in zip(heads, rates, strict=True)]
            stages.append(MiTStage(blocks, dim, 1e-6))
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
        self.apply(initialize_by_fan_out)
