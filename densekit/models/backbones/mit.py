"""MiT, the encoder of SegFormer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from densekit.models.backbones.image_backbone import ImageBackbone
from densekit.models.layers.channel_norm import ChannelNorm
from densekit.models.layers.initialize import initialize_by_fan_out
from densekit.models.layers.of_torchvision import stochastic_depth
from densekit.models.layers.unit_attention import drop_path_rates
from densekit.registry import MODELS

RATIO = 4
"""Width of the feed-forward network over that of the map. The paper's table 7 counts another, the weights have this."""


class EfficientSelfAttention(nn.Module):
    """Attention of all tokens to a map reduced by a strided convolution, paper eq. 2.

    Args:
        dim: Channels.
        heads: Attention heads.
        reduction: Stride of the convolution that keys and values come from; 1: they come from the map itself.
        eps: Of its norm.
    """

    def __init__(self, dim: int, heads: int, reduction: int, eps: float):
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.q, self.kv, self.proj = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        if reduction > 1:
            conv = nn.Conv2d(dim, dim, reduction, stride=reduction)
            self.reduce = nn.Sequential(conv, ChannelNorm(dim, eps=eps))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same shape. Maps smaller than the reduction are padded to it."""
        reduced = x.permute(0, 3, 1, 2)
        if self.reduction > 1:
            down, right = (max(self.reduction - side, 0) for side in reduced.shape[2:])
            reduced = self.reduce(F.pad(reduced, (0, right, 0, down)) if down or right else reduced)
        key, value = self.kv(reduced.flatten(2).transpose(1, 2)).chunk(2, dim=-1)
        query, key, value = (self._by_head(t) for t in (self.q(x.flatten(1, 2)), key, value))
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).reshape(x.shape))

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class MixFFN(nn.Module):
    """Feed-forward network with a depth-wise 3x3 convolution, whose zero padding tells the position; paper eq. 3."""

    def __init__(self, dim: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, RATIO * dim), nn.Linear(RATIO * dim, dim)
        self.depthwise = nn.Conv2d(RATIO * dim, RATIO * dim, 3, padding=1, groups=RATIO * dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same shape."""
        x = self.depthwise(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(F.gelu(x))


class MiTBlock(nn.Module):
    """Attention, then feed-forward network, each after a norm and beside a shortcut."""

    def __init__(self, dim: int, heads: int, reduction: int, drop_path: float, eps: float, inner_eps: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.attention, self.ffn = EfficientSelfAttention(dim, heads, reduction, inner_eps), MixFFN(dim)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same shape."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class MiTStage(nn.Module):
    """Blocks and a norm, on which the next stage stands too."""

    def __init__(self, blocks: Sequence[MiTBlock], dim: int, eps: float):
        super().__init__()
        self.blocks, self.norm = nn.Sequential(*blocks), nn.LayerNorm(dim, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return self.norm(self.blocks(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


# NVlabs' names; then those of MMSegmentation, whose attention holds queries, keys and values in one matrix.
_OFFICIAL = (
    (r"^patch_embed(\d)\.proj\.", lambda s: f"downsamplings.{s}.0."),
    (r"^patch_embed(\d)\.norm\.", lambda s: f"downsamplings.{s}.1."),
    (r"^block(\d)\.", lambda s: f"stages.{s}.blocks."),
    (r"^norm(\d)\.", lambda s: f"stages.{s}.norm."),
)
_MMSEG = (
    (r"^layers\.(\d)\.0\.projection\.", r"downsamplings.\1.0."),
    (r"^layers\.(\d)\.0\.norm\.", r"downsamplings.\1.1."),
    (r"^layers\.(\d)\.1\.", r"stages.\1.blocks."),
    (r"^layers\.(\d)\.2\.", r"stages.\1.norm."),
)
_INSIDE = (
    (r"\.attn\.sr\.", ".attention.reduce.0."),
    (r"\.attn\.norm\.", ".attention.reduce.1."),
    (r"\.attn\.attn\.out_proj\.", ".attention.proj."),
    (r"\.attn\.", ".attention."),
    (r"\.mlp\.dwconv\.dwconv\.|\.ffn\.layers\.1\.", ".ffn.depthwise."),
    (r"\.ffn\.layers\.0\.", ".ffn.fc1."),
    (r"\.ffn\.layers\.4\.", ".ffn.fc2."),
    (r"\.mlp\.", ".ffn."),
)


def rename_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights named as NVlabs' SegFormer or as MMSegmentation names its encoder's, to ours; other names stay.

    Args:
        weights: The encoder's, without a prefix.
    """
    found = {}
    for key, value in weights.items():
        name = key
        for pattern, ours in _OFFICIAL:
            name = re.sub(pattern, lambda match, ours=ours: ours(int(match[1]) - 1), name)
        for pattern, ours in _MMSEG:
            name = re.sub(pattern, ours, name)
        if name == key:
            found[key] = value
            continue
        for pattern, ours in _INSIDE:
            name = re.sub(pattern, ours, name)
        if name.endswith((".ffn.fc1.weight", ".ffn.fc2.weight")):
            value = value.flatten(1)  # MMSegmentation's are convolutions
        stem, packed, kind = name.partition(".attention.attn.in_proj_")
        if packed:
            dim = len(value) // 3
            found[f"{stem}.attention.q.{kind}"], found[f"{stem}.attention.kv.{kind}"] = value[:dim], value[dim:]
        else:
            found[name] = value
    return found


@MODELS.register_module()
class MixVisionTransformer(ImageBackbone):
    """MiT: a transformer with overlapping patches, attention to reduced maps, and no position encoding.

    Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers", NeurIPS
    2021. NVIDIA's weights are for non-commercial use. Each stage ends with a norm, so there is no ``out_norm``.

    Args:
        widths: Channels of each stage.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        reductions: Of the map that keys and values come from, per side.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
        eps: Of the norms before attention and feed-forward network and after each stage.
        inner_eps: Of the norms in patch embeddings and on reduced maps. NVlabs' weights were trained with PyTorch's
            default, MMSegmentation's with 1e-6 here too.
        in_channels: See :class:`~densekit.models.backbones.image_backbone.ImageBackbone`, with the arguments below.
        out_indices: Stages whose maps are given.
        frozen_stages: Stages that do not learn.
        pretrained: File of weights.

    Raises:
        ConfigError: for a stage that does not exist, or a rate that is no probability.
    """

    rename_official = staticmethod(rename_official)

    def __init__(
        self,
        *,
        widths: Sequence[int] = (32, 64, 160, 256),
        depths: Sequence[int] = (2, 2, 2, 2),
        heads: Sequence[int] = (1, 2, 5, 8),
        reductions: Sequence[int] = (8, 4, 2, 1),
        drop_path_rate: float = 0.1,
        eps: float = 1e-6,
        inner_eps: float = 1e-5,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        pretrained: str | None = None,
    ):
        downsamplings, stages, before = [], [], in_channels
        for i, rates in enumerate(drop_path_rates(drop_path_rate, depths)):
            dim, (kernel, stride) = widths[i], (7, 4) if i == 0 else (3, 2)
            conv = nn.Conv2d(before, dim, kernel, stride=stride, padding=kernel // 2)
            downsamplings.append(nn.Sequential(conv, ChannelNorm(dim, eps=inner_eps)))
            blocks = [MiTBlock(dim, heads[i], reductions[i], rate, eps, inner_eps) for rate in rates]
            stages.append(MiTStage(blocks, dim, eps))
            before = dim
        super().__init__(
            downsamplings,
            stages,
            widths=widths,
            in_channels=in_channels,
            out_indices=out_indices,
            out_norm=None,
            frozen_stages=frozen_stages,
            pretrained=pretrained,
        )
        self.apply(initialize_by_fan_out)
