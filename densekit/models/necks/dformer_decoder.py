"""Decoder of D-Former (Wu et al., arXiv 2201.00462)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from densekit.errors import ConfigError, close_names
from densekit.models.checks import check_stages, check_triples
from densekit.models.layers.initialize import initialize
from densekit.models.layers.patch import PatchExpanding, pyramid_strides
from densekit.models.layers.unit_attention import DFormerStage, drop_path_rates
from densekit.registry import MODELS

SKIPS = ("concat", "add")


@MODELS.register_module()
class DFormerDecoder(nn.Module):
    """Decoder of D-Former: from the bottleneck up, expand, fuse the skip, encode positions, attend.

    Args:
        in_channels: Channels of the encoder's maps, fine to coarse; the last is the bottleneck.
        depths: Blocks of each decoder stage, fine to coarse; one fewer than ``in_channels``.
        heads: Attention heads of each decoder stage.
        patch: Patch size (D, H, W) of the encoder: the stride of its finest map.
        skip: ``"concat"``: linear layer on [decoder, skip], as released. ``"add"``: their sum, without parameters.
        drop_path: Stochastic depth of the last block of the coarsest stage, rising linearly from 0 at the finest.
        unit, init, checkpoint: See :class:`densekit.models.backbones.DFormer`.

    Raises:
        ConfigError: if the tuples do not fit each other, or ``skip`` is unknown.

    Attributes:
        out_channels: Channels of the returned maps, fine to coarse (= ``in_channels`` without the bottleneck).
        out_strides: Voxels per token (D, H, W) of each.
    """

    spatial_dims = 3

    def __init__(
        self,
        in_channels: Sequence[int] = (96, 192, 384, 768),
        *,
        depths: Sequence[int] = (2, 2, 6),
        heads: Sequence[int] = (3, 6, 12),
        patch: Sequence[int] = (2, 4, 4),
        unit: Sequence[int] = (2, 8, 8),
        skip: str = "concat",
        drop_path: float = 0.0,
        init: str = "trunc_normal",
        checkpoint: bool = False,
    ):
        super().__init__()
        widths = tuple(in_channels[:-1])
        check_stages(
            "DFormerDecoder", **{"in_channels (without the bottleneck)": widths, "depths": depths, "heads": heads}
        )
        check_triples("DFormerDecoder", patch=patch, unit=unit)
        if skip not in SKIPS:
            raise ConfigError(f"DFormerDecoder.skip={skip!r}: expected 'concat' or 'add'{close_names(skip, SKIPS)}")
        self.in_channels = tuple(in_channels)
        self.in_strides = pyramid_strides(patch, len(in_channels))
        self.out_channels = widths
        self.out_strides = self.in_strides[:-1]
        # Module lists run fine to coarse like all else; forward() walks them backwards.
        self.expansions = nn.ModuleList(PatchExpanding(coarse, fine) for fine, coarse in pairwise(in_channels))
        self.fusions = nn.ModuleList(nn.Linear(2 * w, w) for w in widths) if skip == "concat" else None
        rates = drop_path_rates(drop_path, depths)
        self.stages = nn.ModuleList(
            DFormerStage(width, depth, head, unit, drop_path=rate, checkpoint=checkpoint)
            for width, depth, head, rate in zip(widths, depths, heads, rates, strict=True)
        )
        self.norm = nn.LayerNorm(widths[0])
        initialize(self, init)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Decode.

        Args:
            features: The encoder's maps ``(B, C_i, D_i, H_i, W_i)``, fine to coarse.

        Returns:
            One map per decoder stage, fine to coarse, at the sizes of the skips: the finest is the normalised end of
            the decoder; the others are the maps as they arrive from below, before the skip is fused, where the
            deep-supervision heads of the paper's code sit.
        """
        *skips, x = (f.permute(0, 2, 3, 4, 1) for f in features)
        arrived = []
        for level in reversed(range(len(skips))):
            x = self.expansions[level](x)
            arrived.append(x)
            x = self.stages[level](self._fuse(x, skips[level], level))
        maps = [self.norm(x), *arrived[-2::-1]]
        return tuple(m.permute(0, 4, 1, 2, 3) for m in maps)

    def _fuse(self, x: Tensor, skip: Tensor, level: int) -> Tensor:
        return x + skip if self.fusions is None else self.fusions[level](torch.cat((x, skip), dim=-1))
