"""CAS-ViT: attention whose similarity is a sum of gated maps, so that it is made of convolutions alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from densekit.models.backbones.image_backbone import ImageBackbone
from densekit.models.layers.of_torchvision import stochastic_depth
from densekit.models.layers.unit_attention import drop_path_rates
from densekit.registry import MODELS


def _depthwise(dim: int) -> nn.Conv2d:
    return nn.Conv2d(dim, dim, 3, padding=1, groups=dim)


class ContextGate(nn.Module):
    """A map times a weight per place, then times a weight per channel, both computed from it."""

    def __init__(self, dim: int):
        super().__init__()
        to_places = nn.Conv2d(dim, 1, 1, bias=False)
        self.spatial = nn.Sequential(_depthwise(dim), nn.BatchNorm2d(dim), nn.ReLU(), to_places, nn.Sigmoid())
        self.channel = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(dim, dim, 1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        x = x * self.spatial(x)
        return x * self.channel(x)


class AdditiveTokenMixer(nn.Module):
    """Convolutional additive self-attention, paper eq. 6: the sum of gated queries and keys weighs the values."""

    def __init__(self, dim: int):
        super().__init__()
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.gate_q, self.gate_k = ContextGate(dim), ContextGate(dim)
        self.context, self.proj = _depthwise(dim), _depthwise(dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        query, key, value = self.qkv(x).chunk(3, dim=1)
        return self.proj(self.context(self.gate_q(query) + self.gate_k(key)) * value)


class AdditiveBlock(nn.Module):
    """Local perception, additive attention and feed-forward network, each beside a shortcut."""

    def __init__(self, dim: int, drop_path: float):
        super().__init__()
        first, last = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, dim, 1)
        self.local = nn.Sequential(first, nn.BatchNorm2d(dim), _depthwise(dim), nn.GELU(), last)
        self.norm1, self.norm2 = nn.BatchNorm2d(dim), nn.BatchNorm2d(dim)
        self.mixer = AdditiveTokenMixer(dim)
        self.mlp = nn.Sequential(nn.Conv2d(dim, 4 * dim, 1), nn.GELU(), nn.Conv2d(4 * dim, dim, 1))
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        x = x + self.local(x)
        x = x + self.drop_path(self.mixer(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


# Their list alternates stages and transitions: stages are its even entries, and so are the norms of the dense version.
_OFFICIAL = (
    (r"\.local_perception\.network\.", lambda _: ".local."),
    (r"\.attn\.oper_([qk])\.0\.block\.", lambda m: f".mixer.gate_{m[1]}.spatial."),
    (r"\.attn\.oper_([qk])\.1\.block\.", lambda m: f".mixer.gate_{m[1]}.channel."),
    (r"\.attn\.dwc\.", lambda _: ".mixer.context."),
    (r"\.attn\.", lambda _: ".mixer."),
    (r"\.mlp\.fc1\.", lambda _: ".mlp.0."),
    (r"\.mlp\.fc2\.", lambda _: ".mlp.2."),
    (r"^patch_embed\.", lambda _: "downsamplings.0."),
    (r"^network\.(\d)\.proj\.", lambda m: f"downsamplings.{(int(m[1]) + 1) // 2}.0."),
    (r"^network\.(\d)\.norm\.", lambda m: f"downsamplings.{(int(m[1]) + 1) // 2}.1."),
    (r"^network\.(\d)\.", lambda m: f"stages.{int(m[1]) // 2}."),
    (r"^norm(\d)\.", lambda m: f"out_norms.{int(m[1]) // 2}."),
)


def rename_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as Tianfang-Zhang's CAS-ViT ("RCViT") names them, to ours; other names stay as they are."""
    found = {}
    for key, value in weights.items():
        for pattern, ours in _OFFICIAL:
            key = re.sub(pattern, ours, key)
        found[key] = value
    return found


@MODELS.register_module()
class CASViT(ImageBackbone):
    """A mobile network of convolutional additive self-attention, for images of any size.

    Source: Zhang et al., "CAS-ViT: Convolutional Additive Self-attention Vision Transformers for Efficient Mobile
    Applications", arXiv 2408.03703.

    Args:
        widths: Channels of each stage.
        depths: Blocks of each stage.
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

    def __init__(
        self,
        *,
        widths: Sequence[int] = (48, 56, 112, 220),
        depths: Sequence[int] = (2, 2, 4, 2),
        drop_path_rate: float = 0.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norm: str | None = "bn",
        frozen_stages: int = -1,
        pretrained: str | None = None,
    ):
        first = widths[0]
        downsamplings = [
            nn.Sequential(*_halving(in_channels, first // 2), nn.ReLU(), *_halving(first // 2, first), nn.ReLU()),
            *(nn.Sequential(*_halving(a, b)) for a, b in pairwise(widths)),
        ]
        stages = [
            nn.Sequential(*(AdditiveBlock(dim, rate) for rate in rates))
            for dim, rates in zip(widths, drop_path_rates(drop_path_rate, depths), strict=True)
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


def _halving(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after)
