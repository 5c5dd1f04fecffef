"""A pyramid out of the single map of a plain vision transformer.

Y. Li, H. Mao, R. Girshick, K. He, *Exploring Plain Vision Transformer Backbones for Object Detection*, ECCV 2022, arXiv
2203.16527, section 3: no lateral connections, each level comes from the last map by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from densekit.errors import ConfigError
from densekit.registry import MODELS


@MODELS.register_module()
class SimpleFeaturePyramid(nn.Module):
    """ViTDet's simple feature pyramid: strides 4, 8, 16 and 32 out of one map.

    Finer levels come from transposed convolutions of stride 2, each of which halves the channels, with a layer norm and
    GELU between two; coarser ones from max pooling. Then a convolution 1 x 1 and one 3 x 3 follow, each with a layer
    norm over the channels.

    Args:
        in_channels: Of the map; of several the last is taken.
        in_strides: Its stride, or those of the several; a power of two.
        out_channels: Of each level.
        strides: Of the levels, fine to coarse, each a power of two.
        num_outs: Number of levels; those beyond ``strides`` are every second value of the one before, as in ViTDet.

    Raises:
        ConfigError: for strides that do not follow from each other by powers of two.

    Attributes:
        in_strides: The stride of the map it takes.
        out_channels: Channels of each level.
        out_strides: Their strides.
    """

    spatial_dims = 2
    levels = "last"

    def __init__(
        self,
        in_channels: int,
        in_strides: int | Sequence[int] = 16,
        out_channels: int = 256,
        strides: Sequence[int] = (4, 8, 16, 32),
        num_outs: int | None = None,
    ):
        super().__init__()
        stride = in_strides if isinstance(in_strides, int) else in_strides[-1]
        self.in_channels, self.in_strides = in_channels, (stride,)
        num_outs = len(strides) if num_outs is None else num_outs
        self.out_strides = tuple(strides[:num_outs])
        self.pyramid = nn.ModuleList(_level(in_channels, out_channels, *_steps(stride, to)) for to in self.out_strides)
        self.out_strides += tuple(self.out_strides[-1] * 2 ** (i + 1) for i in range(num_outs - len(self.pyramid)))
        self.out_channels = (out_channels,) * num_outs

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of a backbone, of which the last ``(B, C, H, W)`` is taken, to levels ``(B, C_out, H_i, W_i)``."""
        levels = [level(maps[-1]) for level in self.pyramid]
        while len(levels) < len(self.out_strides):
            levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
        return tuple(levels)


def _steps(given: int, wanted: int) -> tuple[int, int]:
    """By how many doublings of its sides a map of one stride becomes one of another, and by how many halvings."""
    steps = math.log2(given / wanted)
    if not steps.is_integer():
        raise ConfigError(
            f"SimpleFeaturePyramid: a level of stride {wanted} does not follow from a map of stride {given} by "
            "doubling or halving it; for a vision transformer with patches of 14 pixels take "
            "TimmBackbone(..., args=dict(patch_size=16)), which resamples its weights to patches of 16"
        )
    return max(int(steps), 0), max(-int(steps), 0)


def _level(channels: int, out_channels: int, up: int, down: int) -> nn.Sequential:
    from timm.layers import LayerNorm2d

    layers: list[nn.Module] = []
    for step in range(up):
        layers += [LayerNorm2d(channels), nn.GELU()] if step else []
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
        channels //= 2
    layers += [nn.MaxPool2d(2, ceil_mode=True) for _ in range(down)]
    for size in (1, 3):
        layers.append(nn.Conv2d(channels, out_channels, size, padding=size // 2, bias=False))
        layers.append(LayerNorm2d(out_channels))
        channels = out_channels
    return nn.Sequential(*layers)
