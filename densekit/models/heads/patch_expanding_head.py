"""Head of D-Former: from tokens back to voxels, at one or several resolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from densekit.errors import ConfigError
from densekit.models.checks import check_stages, check_triples
from densekit.models.heads.volume_head import VolumeHead, crop
from densekit.models.layers.chunks import chunked, frugal
from densekit.models.layers.initialize import initialize
from densekit.models.layers.patch import pyramid_strides, scatter_patches
from densekit.registry import MODELS


@MODELS.register_module()
class PatchExpandingHead(VolumeHead):
    """Final patch expanding and classification of D-Former (Wu et al., arXiv 2201.00462), with deep supervision.

    One :class:`ExpandingClassifier` per supervised map. Each enlarges its map by the patch size, so the finest gives
    logits at full resolution, the next at 1/2, then 1/4. Only the first works at inference.

    Args:
        in_channels: Channels of the decoder's maps, fine to coarse.
        num_classes: Number of classes K, background included.
        patch: Patch size (D, H, W) of the encoder.
        deep_supervision: How many maps are supervised in training, from the finest: 3 is nnFormer's setting, 2 what the
            released D-Former code effectively trains, 1 none. No head is built that is not trained.
        checkpoint: See :class:`ExpandingClassifier`.
        init: See :func:`densekit.models.layers.initialize.initialize`.
        loss: See :class:`VolumeHead`.

    Raises:
        ConfigError: if ``deep_supervision`` is not between 1 and the number of maps.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (96, 192, 384),
        num_classes: int = 14,
        *,
        patch: Sequence[int] = (2, 4, 4),
        deep_supervision: int = 3,
        checkpoint: bool = False,
        init: str = "trunc_normal",
        loss: nn.Module | dict | None = None,
    ):
        super().__init__(num_classes, loss)
        check_stages("PatchExpandingHead", in_channels=in_channels)
        check_triples("PatchExpandingHead", patch=patch)
        if not 1 <= deep_supervision <= len(in_channels):
            raise ConfigError(
                f"PatchExpandingHead.deep_supervision={deep_supervision}: expected 1 (none) to {len(in_channels)}, "
                f"the number of maps in in_channels={tuple(in_channels)}"
            )
        self.in_channels = tuple(in_channels)[:deep_supervision]
        self.in_strides = pyramid_strides(patch, deep_supervision)
        self.classifiers = nn.ModuleList(
            ExpandingClassifier(dim, num_classes, patch, checkpoint=checkpoint, init=init) for dim in self.in_channels
        )

    def logits(self, features: Sequence[Tensor], size: Sequence[int], *, supervise: bool) -> list[Tensor]:
        levels = len(self.classifiers) if supervise else 1
        sizes = [[math.ceil(s / 2**level) for s in size] for level in range(levels)]
        return [crop(self.classifiers[i](features[i]), sizes[i]) for i in range(levels)]


class ExpandingClassifier(nn.Module):
    """Each token becomes a patch of voxels: linear to ``p_d*p_h*p_w*C``, LayerNorm(C), linear to classes; no biases.

    Norm and classification look at one voxel at a time, so they run before the voxels are moved to their places, and
    only the K logits of a voxel are moved, not its C channels.

    Args:
        dim: Channels C.
        num_classes: Number of classes K.
        patch: Patch size (D, H, W).
        checkpoint: The map of C channels per voxel is by far the largest of the network: 403 MB for 64x128x128 voxels
            and 96 channels, kept twice for the backward pass. True: make it in pieces, and again in the backward pass.
            On a CPU this is always done, since it is faster.
        init: See :func:`densekit.models.layers.initialize.initialize`.
    """

    def __init__(self, dim: int, num_classes: int, patch: Sequence[int], *, checkpoint: bool, init: str):
        super().__init__()
        self.patch = tuple(patch)
        self.checkpoint = checkpoint
        self.expand = nn.Linear(dim, math.prod(patch) * dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        initialize(self, init)
        # A 1x1x1 convolution in the authors' code, and initialised as one: PyTorch's default is the same for both.
        self.classify = nn.Linear(dim, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, D, H, W)`` to logits ``(B, K, D*p_d, H*p_h, W*p_w)``."""
        tokens = x.permute(0, 2, 3, 4, 1)
        flat = tokens.reshape(-1, tokens.shape[-1])
        voxels = chunked(self._classify, flat, width=self.expand.out_features, again=self.checkpoint or frugal(flat))
        return scatter_patches(voxels.view(*tokens.shape[:-1], -1), self.patch).permute(0, 4, 1, 2, 3)

    def _classify(self, tokens: Tensor) -> Tensor:
        """Tokens ``(N, C)`` to logits ``(N, p_d*p_h*p_w*K)``."""
        number, dim = tokens.shape
        voxels = self.expand(tokens).view(number, -1, dim)
        return self.classify(self.norm(voxels)).flatten(1)
