"""Encoder of D-Former.

Y. Wu, K. Liao, J. Chen, J. Wang, D. Z. Chen, H. Gao, J. Wu, *D-Former: A U-shaped Dilated Transformer for 3D Medical
Image Segmentation*, Neural Computing & Applications 2022, arXiv 2201.00462.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from densekit.models.checks import check_stages, check_triples
from densekit.models.layers.initialize import initialize
from densekit.models.layers.patch import PatchEmbedding, PatchMerging, pad_to_multiple, pyramid_strides
from densekit.models.layers.unit_attention import DFormerStage, drop_path_rates
from densekit.registry import MODELS


@MODELS.register_module()
class DFormer(nn.Module):
    """Encoder of D-Former: local and dilated unit attention over a pyramid of 3D patches.

    The maps it returns are those the decoder needs: the *input* of every stage but the last (patch embedding, then each
    merged map), and the normalised output of the last, the bottleneck.

    The input is padded once, with zeros at the end of each axis, to a multiple of the coarsest stride, so that no later
    step meets an odd size; the head crops its logits back.

    Args:
        in_channels: Channels of the volume.
        widths: Channels of each stage, fine to coarse; as many stages as entries.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        patch: Patch size (D, H, W) in voxels.
        unit: Attention unit (D, H, W) in tokens.
        drop_path: Stochastic depth of the last block, rising linearly from 0.
        init: See :func:`densekit.models.layers.initialize.initialize`.
        checkpoint: Compute blocks again in the backward pass instead of keeping their inner results.

    Raises:
        ConfigError: if the tuples do not fit each other.

    Attributes:
        out_channels: Channels of the returned maps, fine to coarse (= ``widths``).
        out_strides: Voxels per token (D, H, W) of each.
        size_multiple: What the input is padded to a multiple of (D, H, W).
    """

    spatial_dims = 3

    def __init__(
        self,
        in_channels: int = 1,
        *,
        widths: Sequence[int] = (96, 192, 384, 768),
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        patch: Sequence[int] = (2, 4, 4),
        unit: Sequence[int] = (2, 8, 8),
        drop_path: float = 0.0,
        init: str = "trunc_normal",
        checkpoint: bool = False,
    ):
        super().__init__()
        check_stages("DFormer", widths=widths, depths=depths, heads=heads)
        check_triples("DFormer", patch=patch, unit=unit)
        self.in_channels = in_channels
        self.out_channels = tuple(widths)
        self.out_strides = pyramid_strides(patch, len(widths))
        self.size_multiple = self.out_strides[-1]
        self.embedding = PatchEmbedding(in_channels, widths[0], patch)
        rates = drop_path_rates(drop_path, depths)
        self.stages = nn.ModuleList(
            DFormerStage(width, depth, head, unit, drop_path=rate, checkpoint=checkpoint)
            for width, depth, head, rate in zip(widths, depths, heads, rates, strict=True)
        )
        self.mergings = nn.ModuleList(PatchMerging(fine, coarse) for fine, coarse in pairwise(widths))
        self.norm = nn.LayerNorm(widths[-1])
        initialize(self, init)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode a volume of any size.

        Args:
            x: Volume ``(B, C, D, H, W)``.

        Returns:
            Maps ``(B, C_i, D_i, H_i, W_i)``, fine to coarse, of the padded volume (views in channels_last_3d layout).
        """
        x = self.embedding(pad_to_multiple(x, self.size_multiple))
        maps = []
        for stage, merging in zip(self.stages[:-1], self.mergings, strict=True):
            maps.append(x)
            x = merging(stage(x))
        maps.append(self.norm(self.stages[-1](x)))
        return tuple(m.permute(0, 4, 1, 2, 3) for m in maps)
