"""LSNet: sees with large kernels what it then aggregates with small ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from densekit.models.backbones.image_backbone import ImageBackbone
from densekit.models.layers.of_torchvision import squeeze_excitation, stochastic_depth
from densekit.models.layers.unit_attention import drop_path_rates
from densekit.registry import MODELS

SHARED = 8
"""Channels that share a set of weights in a large-small convolution."""
KEY_DIM = 16
"""Channels of a query and a key."""


class ConvNorm(nn.Sequential):
    """Convolution that keeps the size, or halves it with stride 2, and batch norm.

    Args:
        before: Channels that come in.
        dim: Channels that go out.
        kernel: Side.
        stride: 1 or 2.
        groups: Of the channels.
        scale: Where the norm's weights start; 0 makes a residual branch start as nothing.
    """

    def __init__(self, before: int, dim: int, kernel: int = 1, stride: int = 1, groups: int = 1, scale: float = 1.0):
        conv = nn.Conv2d(before, dim, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(dim))
        nn.init.constant_(self[1].weight, scale)


class RepVGGDepthwise(nn.Module):
    """Depth-wise convolutions of 3x3 and 1x1, each with batch norm, and the map itself, summed.

    Args:
        dim: Channels.
        deploy: Build it merged.
    """

    def __init__(self, dim: int, *, deploy: bool):
        super().__init__()
        if deploy:
            self.conv, self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim), None
        else:
            self.conv, self.conv1 = ConvNorm(dim, dim, 3, groups=dim), ConvNorm(dim, dim, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return self.conv(x) if self.conv1 is None else self.conv(x) + self.conv1(x) + x

    @torch.no_grad()
    def merge(self) -> None:
        """Make it one convolution, in place."""
        if self.conv1 is None:
            return
        (weight, bias), (point, offset) = (
            fuse_conv_bn_weights(conv.weight, None, n.running_mean, n.running_var, n.eps, n.weight, n.bias)
            for conv, n in (self.conv, self.conv1)
        )
        weight[:, :, 1:2, 1:2] += point + 1
        dim = len(weight)
        self.conv, self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim), None
        self.conv.weight, self.conv.bias = nn.Parameter(weight), nn.Parameter(bias + offset)


def small_kernel_aggregation(x: Tensor, weights: Tensor) -> Tensor:
    """3x3 convolution with weights of its own at each place, zeros outside, paper eq. 5.

    Args:
        x: Map, ``(B, C, H, W)``.
        weights: Of S sets, ``(B, 9 S, H, W)``: channel ``9 s + t`` is tap t (row by row) of set s, which channels
            s, S + s, 2 S + s, ... share.

    Returns:
        ``(B, C, H, W)``.
    """
    height, width = x.shape[2:]
    weights = weights.unflatten(1, (-1, 9))
    sets = F.pad(x, (1, 1, 1, 1)).unflatten(1, (-1, weights.shape[1]))
    taps = ((t, sets[..., t // 3 : t // 3 + height, t % 3 : t % 3 + width]) for t in range(9))
    # One tap after the other: unfolded, the map would be held nine times.
    return sum(weights[:, None, :, t] * shifted for t, shifted in taps).flatten(1, 2)


class LSConv(nn.Module):
    """Large-small convolution: a 7x7 depth-wise convolution sees what a 3x3 one, other at each place, adds up."""

    def __init__(self, dim: int):
        super().__init__()
        half, sets = dim // 2, dim // SHARED
        first, large, last = ConvNorm(dim, half), ConvNorm(half, half, 7, groups=half), ConvNorm(half, half)
        to_weights = nn.Conv2d(half, 9 * sets, 1)
        self.perceive = nn.Sequential(
            first, nn.ReLU(), large, last, nn.ReLU(), to_weights, nn.GroupNorm(sets, 9 * sets)
        )
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return self.norm(small_kernel_aggregation(x, self.perceive(x))) + x


class BiasedAttention(nn.Module):
    """Attention of all places to all, with a learnt bias for each distance along rows and columns.

    Args:
        dim: Channels.
        heads: Attention heads.
        resolution: Distances per axis that have a bias; farther ones have that of the farthest.
    """

    def __init__(self, dim: int, heads: int, resolution: int):
        super().__init__()
        self.heads, self.resolution = heads, resolution
        keys = KEY_DIM * heads
        self.qkv, self.dw = ConvNorm(dim, dim + 2 * keys), ConvNorm(keys, keys, 3, groups=keys)
        self.proj = nn.Sequential(nn.ReLU(), ConvNorm(dim, dim, scale=0.0))
        self.attention_biases = nn.Parameter(torch.zeros(heads, resolution**2))

    def bias(self, height: int, width: int) -> Tensor:
        """Bias of each place, row by row, for each other: ``(heads, H W, H W)``."""
        table, last = self.attention_biases, self.resolution - 1
        rows, cols = (torch.arange(n, device=table.device) for n in (height, width))
        rows, cols = ((n[:, None] - n).abs().clamp(max=last) for n in (rows, cols))
        index = rows[:, None, :, None] * self.resolution + cols[None, :, None, :]
        return table[:, index.reshape(height * width, height * width)]

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        keys = KEY_DIM * self.heads
        query, key, value = self.qkv(x).split((keys, keys, x.shape[1]), dim=1)
        query, key, value = (t.flatten(2).unflatten(1, (self.heads, -1)).mT for t in (self.dw(query), key, value))
        bias = self.bias(*x.shape[2:])[None].to(query.dtype)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(out.mT.reshape(x.shape))


class LSNetBlock(nn.Module):
    """A mixer of places and a feed-forward network.

    Args:
        dim: Channels.
        attention: Heads and resolution of the mixer if it is attention; None: a large-small convolution.
        even: Whether it is instead a depth-wise convolution with squeeze and excitation, as in every other block.
        drop_path: Rate of stochastic depth, of attention and feed-forward network.
        deploy: Build it merged.
    """

    def __init__(self, dim: int, attention: tuple[int, int] | None, *, even: bool, drop_path: float, deploy: bool):
        super().__init__()
        self.residual = attention is not None and not even
        if even:
            self.mixer = RepVGGDepthwise(dim, deploy=deploy)
        else:
            self.mixer = BiasedAttention(dim, *attention) if attention else LSConv(dim)
        self.se = squeeze_excitation(dim, dim // 4) if even else nn.Identity()
        self.ffn = nn.Sequential(ConvNorm(dim, 2 * dim), nn.ReLU(), ConvNorm(2 * dim, dim, scale=0.0))
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        x = x + self.drop_path(self.mixer(x)) if self.residual else self.se(self.mixer(x))
        return x + self.drop_path(self.ffn(x))


_PERCEIVE = {"cv1": 0, "cv2": 2, "cv3": 3, "cv4": 5, "norm": 6}


def _place(match: re.Match[str]) -> str:
    """Of the official ``blocks2.3.``: the first two entries of each list but the first are our downsampling."""
    stage, entry = int(match[1]) - 1, int(match[2])
    if stage and entry < 2:
        return f"downsamplings.{stage}.{entry}."
    return f"stages.{stage}.{entry - 2 if stage else entry}."


_OFFICIAL = (
    (r"^patch_embed\.", lambda _: "downsamplings.0."),
    (r"^blocks(\d)\.(\d+)\.", _place),
    (r"\.mixer\.lkp\.(cv\d|norm)\.", lambda m: f".mixer.perceive.{_PERCEIVE[m[1]]}."),
    (r"\.mixer\.bn\.", lambda _: ".mixer.norm."),
    (r"\.mixer\.m\.", lambda _: ".mixer."),
    (r"\.ffn\.m\.pw1\.", lambda _: ".ffn.0."),
    (r"\.ffn\.m\.pw2\.", lambda _: ".ffn.2."),
    (r"\.c\.", lambda _: ".0."),
    (r"\.bn\.", lambda _: ".1."),
)


def rename_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as jameslahm's LSNet names them, not merged, to ours; other names stay as they are.

    Read off copies of the official code in other repositories, the official files themselves not being at hand.
    """
    found = {}
    for key, value in weights.items():
        name = key
        if name.startswith(("patch_embed.", "blocks")):
            for pattern, ours in _OFFICIAL:
                name = re.sub(pattern, ours, name)
        if not name.endswith(".attention_bias_idxs"):  # which we compute for the size at hand
            found[name] = value
    return found


@MODELS.register_module()
class LSNet(ImageBackbone):
    """A light network of large-small convolutions, with attention in its last stage.

    Source: Wang et al., "LSNet: See Large, Focus Small", CVPR 2025. Its maps have strides 8 to 64, for a pyramid from
    P3 to P6.

    Args:
        widths: Channels of each stage, multiples of 16.
        depths: Blocks of each stage; the first may have none.
        heads: Attention heads, in the last stage.
        resolution: Of the last map while the weights were trained, 4 at 224x224: as many distances have a bias.
        deploy: Build it merged, for merged weights; see :meth:`merge`.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0; the official code has none.
        in_channels: See :class:`~densekit.models.backbones.image_backbone.ImageBackbone`, with the arguments below.
        out_indices: Stages whose maps are given.
        out_norm: Norm of the maps.
        frozen_stages: Stages that do not learn.
        pretrained: File of weights.

    Raises:
        ConfigError: for a stage that does not exist, or a rate that is no probability.
    """

    rename_official = staticmethod(rename_official)

    def __init__(
        self,
        *,
        widths: Sequence[int] = (64, 128, 256, 384),
        depths: Sequence[int] = (0, 2, 8, 10),
        heads: int = 4,
        resolution: int = 4,
        deploy: bool = False,
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
                convs = [ConvNorm(in_channels, dim // 4, 3, 2), nn.ReLU(), ConvNorm(dim // 4, dim // 2, 3, 2)]
                downsamplings.append(nn.Sequential(*convs, nn.ReLU(), ConvNorm(dim // 2, dim, 3, 2)))
            else:
                before = widths[i - 1]
                halving = ConvNorm(before, before, 3, 2, groups=before)
                downsamplings.append(nn.Sequential(halving, ConvNorm(before, dim)))
            attention = (heads, resolution) if i == len(widths) - 1 else None
            blocks = [
                LSNetBlock(dim, attention, even=j % 2 == 0, drop_path=rate, deploy=deploy)
                for j, rate in enumerate(rates)
            ]
            stages.append(nn.Sequential(*blocks))
        super().__init__(
            downsamplings,
            stages,
            widths=widths,
            strides=(8, 16, 32, 64),
            in_channels=in_channels,
            out_indices=out_indices,
            out_norm=out_norm,
            frozen_stages=frozen_stages,
            pretrained=pretrained,
        )

    def merge(self) -> None:
        """Make each block's parallel depth-wise convolutions one, in place: in eval mode the maps stay the same."""
        for module in self.modules():
            if isinstance(module, RepVGGDepthwise):
                module.merge()
