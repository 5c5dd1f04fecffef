"""EMOv2: one kind of block for a mobile network, an inverted residual whose expansion may be window attention."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.models.backbones.image_backbone import ImageBackbone
from densekit.models.layers.channel_norm import ChannelNorm
from densekit.models.layers.of_torchvision import stochastic_depth
from densekit.models.layers.unit_attention import drop_path_rates
from densekit.registry import MODELS

EPS = 1e-6
"""Of all norms, batch norms too, as in the official code."""
CLOSE, REMOTE = ((2, 4), (3, 5)), ((3, 5), (2, 4))
"""Of a map split into ``(B, C, a, b, c, d)``: the axes that count its windows, and those inside one."""


class HybridWindowAttention(nn.Module):
    """Attention within windows of neighbours, and within windows of places far apart, summed.

    Maps are padded to a multiple of the window with zeros on the right and below; these places are attended to.

    Args:
        dim: Channels.
        hidden: Channels that come out.
        head_dim: Channels of a query.
        window: Places per side of a window.
    """

    def __init__(self, dim: int, hidden: int, head_dim: int, window: int):
        super().__init__()
        self.heads, self.window = dim // head_dim, window
        self.qk, self.v = nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(dim, hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, hidden, H, W)``."""
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % self.window, 0, -height % self.window))
        maps = (*self.qk(x).chunk(2, dim=1), F.gelu(self.v(x)))
        return sum(self._attended(maps, *axes) for axes in (CLOSE, REMOTE))[..., :height, :width]

    def _attended(self, maps: Sequence[Tensor], counting: tuple[int, int], inside: tuple[int, int]) -> Tensor:
        """Attention in all windows of one kind: remote ones take every n-th place, n windows to a side."""
        rows, cols = ((n // self.window, self.window) for n in maps[0].shape[2:])
        if inside == REMOTE[1]:
            rows, cols = rows[::-1], cols[::-1]
        order = (0, *counting, 1, *inside)
        windows = [m.unflatten(3, cols).unflatten(2, rows).permute(order) for m in maps]
        query, key, value = (w.flatten(0, 2).flatten(2).unflatten(1, (self.heads, -1)).mT for w in windows)
        out = F.scaled_dot_product_attention(query, key, value).mT.reshape(windows[2].shape)
        back = sorted(range(6), key=order.__getitem__)
        return out.permute(back).flatten(4, 5).flatten(2, 3)


class I2RMB(nn.Module):
    """Improved inverted residual mobile block: norm, expansion, depth-wise convolution, projection; paper fig. 4.

    Args:
        before: Channels that come in.
        dim: Channels that go out.
        hidden: Channels between.
        stride: Of the depth-wise convolution; with 2 there is no shortcut.
        expand: The expansion if it is attention; None: a 1x1 convolution and an activation.
        late: Whether it is of the last stages, with LayerNorm and GELU instead of batch norm and SiLU.
        drop_path: Rate of stochastic depth.
    """

    def __init__(
        self, before: int, dim: int, hidden: int, *, stride: int, expand: nn.Module | None, late: bool, drop_path: float
    ):
        super().__init__()
        self.shortcut = stride == 1 and before == dim
        self.norm = ChannelNorm(before, eps=EPS) if late else nn.BatchNorm2d(before, eps=EPS)
        conv = nn.Conv2d(before, hidden, 1)
        self.expand = expand or nn.Sequential(conv, nn.GELU() if late else nn.SiLU())
        depthwise = nn.Conv2d(hidden, hidden, 5, stride=stride, padding=2, groups=hidden, bias=False)
        self.local = nn.Sequential(depthwise, nn.BatchNorm2d(hidden, eps=EPS), nn.SiLU())
        self.proj = nn.Conv2d(hidden, dim, 1, bias=False)
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, before, H, W)`` to ``(B, dim, H / stride, W / stride)``, sides rounded up."""
        y = self.expand(self.norm(x))
        y = y + self.local(y) if self.shortcut else self.local(y)
        y = self.gamma.view(-1, 1, 1) * self.proj(y)
        return x + self.drop_path(y) if self.shortcut else y


_STEM = {"0.conv": 0, "0.norm": 1, "1.conv": 3, "1.norm": 4, "2.conv": 6}


def _place(match: re.Match[str]) -> str:
    """Of the official ``stage2.3.``: the first block of a stage is our downsampling."""
    stage, block = int(match[1]) - 1, int(match[2])
    if block == 0:
        return f"downsamplings.{stage}.1." if stage == 0 else f"downsamplings.{stage}."
    return f"stages.{stage}.{block - 1}."


_OFFICIAL = (
    (r"^stage0\.(\d\.(conv|norm))\.", lambda m: f"downsamplings.0.0.{_STEM[m[1]]}."),
    (r"^stage([1-4])\.(\d+)\.", _place),
    (r"\.eops\.0\.net\.conv\.", lambda _: ".expand.0."),
    (r"\.eops\.0\.(qk|v)\.conv\.", lambda m: f".expand.{m[1]}."),
    (r"\.norm\.norm\.", lambda _: ".norm."),
    (r"\.conv_local\.conv\.", lambda _: ".local.0."),
    (r"\.conv_local\.norm\.", lambda _: ".local.1."),
    (r"\.proj\.conv\.", lambda _: ".proj."),
    (r"\.ls\.gamma$", lambda _: ".gamma"),
)


def rename_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as zhangzjn's EMOv2 names them, to ours; other names stay as they are."""
    found = {}
    for key, value in weights.items():
        name = key
        for pattern, ours in _OFFICIAL:
            name = re.sub(pattern, ours, name)
        found[name] = value.flatten() if key.endswith(".ls.gamma") else value
    return found


@MODELS.register_module()
class EMOv2(ImageBackbone):
    """A mobile network of one kind of block, with attention to near and far places where the map is small.

    Source: Zhang et al., "EMOv2: Pushing 5M Vision Model Frontier", IEEE TPAMI 2025.

    Args:
        widths: Channels of each stage.
        depths: Blocks of each stage; the first of each halves the map and has no attention.
        ratios: Of the expansion, twice that in the first block of a stage.
        head_dim: Channels of a query of the attention, in the last two stages.
        window: Places per side of an attention window: 7 for images of 224x224, 8 where sides are multiples of 256.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
        in_channels: See :class:`~densekit.models.backbones.image_backbone.ImageBackbone`, with the arguments below.
        out_indices: Stages whose maps are given.
        out_norm: Norm of the maps; the official dense networks have none.
        frozen_stages: Stages that do not learn.
        pretrained: File of weights.

    Raises:
        ConfigError: for a stage that does not exist, or a rate that is no probability.
    """

    rename_official = staticmethod(rename_official)

    def __init__(
        self,
        *,
        widths: Sequence[int] = (32, 48, 80, 180),
        depths: Sequence[int] = (2, 2, 8, 3),
        ratios: Sequence[float] = (2.0, 2.5, 3.0, 3.5),
        head_dim: int = 20,
        window: int = 8,
        drop_path_rate: float = 0.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norm: str | None = None,
        frozen_stages: int = -1,
        pretrained: str | None = None,
    ):
        before = widths[0] // 2
        downsamplings, stages = [], []
        for i, rates in enumerate(drop_path_rates(drop_path_rate, depths)):
            dim, late = widths[i], i > 1
            hidden = int(2 * ratios[i] * before)
            first = I2RMB(before, dim, hidden, stride=2, expand=None, late=late, drop_path=rates[0])
            downsamplings.append(first if i else nn.Sequential(_stem(in_channels, before), first))
            hidden, blocks = int(ratios[i] * dim), []
            for rate in rates[1:]:
                attention = HybridWindowAttention(dim, hidden, head_dim, window) if late else None
                blocks.append(I2RMB(dim, dim, hidden, stride=1, expand=attention, late=late, drop_path=rate))
            stages.append(nn.Sequential(*blocks))
            before = dim
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


def _stem(before: int, dim: int) -> nn.Sequential:
    first, depthwise = nn.Conv2d(before, dim, 3, stride=2, padding=1), nn.Conv2d(dim, dim, 3, 1, 1, 1, dim, bias=False)
    norms = (nn.BatchNorm2d(dim, eps=EPS) for _ in range(2))
    last = nn.Conv2d(dim, dim, 1, bias=False)
    return nn.Sequential(first, next(norms), nn.SiLU(), depthwise, next(norms), nn.SiLU(), last)
