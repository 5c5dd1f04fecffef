"""Regions in PANet (S. Liu et al., arXiv 1803.01534): adaptive feature pooling, box heads, mask head with fusion.

The extractor pools a region from every level; the first layer of each head exists once per level, and what these make
of the region is fused to one map, with which MMDetection's head goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

import torch
from mmcv.cnn import ConvModule
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
from mmengine.model import xavier_init
from torch import Tensor, nn

from densekit.errors import ConfigError, close_names
from densekit.ops.mmcv_ext.numerics import compute_dtype
from densekit.registry import MODELS

FUSIONS = {"max": torch.maximum, "sum": torch.add}


@MODELS.register_module()
class AllLevelRoIExtractor(BaseRoIExtractor):
    """Pool every region from all levels, instead of the one that its size assigns it to.

    Args:
        roi_layer: Config of the pooling layer, e.g. ``dict(type="RoIAlign", output_size=7, sampling_ratio=0)``.
        out_channels: Channels of the maps.
        featmap_strides: Strides of the maps that are used, the first ones of the pyramid.
        init_cfg: See MMEngine.
    """

    spatial_dims, all_levels = 2, True

    def forward(self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Pool.

        Args:
            feats: One map ``(B, C, H_l, W_l)`` per stride.
            rois: ``(K, 5)``: index of the image, then ``(x1, y1, x2, y2)`` in pixels of the image. K may be 0.
            roi_scale_factor: Enlarge the regions by this factor first.

        Returns:
            ``(K, levels, C, h, w)`` in the dtype of the maps; computed in float32 where that has 16 bits, so that the
            regions are not rounded.
        """
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        wide = [feat.to(compute_dtype(feat)) for feat in feats]
        pooled = [layer(feat, rois) for layer, feat in zip(self.roi_layers, wide, strict=True)]
        return torch.stack(pooled, dim=1).to(feats[0].dtype)


class LevelFusion(nn.Module):
    """Send a region's features on each level through that level's own layer and fuse the results.

    Args:
        layers: One per level.
        fusion: ``"max"`` as in the paper, or ``"sum"``.

    Raises:
        ConfigError: for another ``fusion``.
    """

    def __init__(self, layers: Iterable[nn.Module], fusion: str = "max"):
        super().__init__()
        if fusion not in FUSIONS:
            raise ConfigError(f"fusion={fusion!r}: expected 'max' or 'sum'{close_names(fusion, FUSIONS)}")
        self.levels = nn.ModuleList(layers)
        self.fusion = fusion

    def forward(self, x: Tensor) -> Tensor:
        """Fuse ``(K, levels, ...)`` to ``(K, ...)``; a tensor flattened to ``(K, levels * F)`` is taken apart again."""
        if x.ndim == 2:
            x = x.unflatten(1, (len(self.levels), -1))
        return reduce(FUSIONS[self.fusion], [layer(x[:, level]) for level, layer in enumerate(self.levels)])


@MODELS.register_module()
class PANetShared2FCBBoxHead(Shared2FCBBoxHead):
    """Two fully connected layers; the first exists once per level, and the maximum of the four goes on to the second.

    It takes what :class:`AllLevelRoIExtractor` gives, ``(K, levels, C, h, w)``.

    Args:
        num_levels: Number of levels.
        fusion: ``"max"`` or ``"sum"``.
        **kwargs: Those of MMDetection's ``Shared2FCBBoxHead``.
    """

    spatial_dims, all_levels = 2, True

    def __init__(self, *, num_levels: int = 4, fusion: str = "max", **kwargs):
        super().__init__(**kwargs)
        _no_average(self)
        first = self.shared_fcs[0]
        # The ReLU stands before the fusion; the one that the base class puts after it changes nothing.
        layers = [nn.Sequential(nn.Linear(first.in_features, first.out_features), nn.ReLU()) for _ in range(num_levels)]
        self.shared_fcs[0] = LevelFusion(layers, fusion)


@MODELS.register_module()
class PANetConv4FCBBoxHead(Shared4Conv1FCBBoxHead):
    """The heavier head: four convolutions, the first once per level, and one fully connected layer.

    Args:
        num_levels, fusion: See :class:`PANetShared2FCBBoxHead`.
        **kwargs: Those of MMDetection's ``Shared4Conv1FCBBoxHead``.
    """

    spatial_dims, all_levels = 2, True

    def __init__(self, *, num_levels: int = 4, fusion: str = "max", **kwargs):
        super().__init__(**kwargs)
        _no_average(self)
        options = {"padding": 1, "conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg}
        layers = [ConvModule(self.in_channels, self.conv_out_channels, 3, **options) for _ in range(num_levels)]
        self.shared_convs[0] = LevelFusion(layers, fusion)


def _no_average(head: nn.Module) -> None:
    if head.with_avg_pool:
        raise ConfigError(
            f"{type(head).__name__}: with_avg_pool=True would average the regions before their levels are fused; "
            "leave it out"
        )


@MODELS.register_module()
class PANetMaskHead(FCNMaskHead):
    """MMDetection's mask head whose first convolution exists once per level, and a branch that sees the whole region.

    The branch leaves the trunk after a convolution, goes through two more and one fully connected layer, and says for
    each pixel whether it is foreground; its logit is added to those of all classes.

    It takes what :class:`AllLevelRoIExtractor` gives, ``(K, levels, C, h, w)``.

    Args:
        num_levels: Number of levels.
        fusion: ``"max"`` or ``"sum"``, over levels.
        with_ff: Whether there is a branch.
        ff_start: After how many convolutions the branch leaves the trunk.
        ff_relu: ReLU on the branch's logit. The released code has one, the paper does not; with it the branch can only
            add foreground.
        **kwargs: Those of MMDetection's ``FCNMaskHead``.

    Raises:
        ConfigError: if ``ff_start`` is not one of the convolutions.
    """

    spatial_dims, all_levels = 2, True

    def __init__(
        self,
        *,
        num_levels: int = 4,
        fusion: str = "max",
        with_ff: bool = True,
        ff_start: int = 3,
        ff_relu: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 1 <= ff_start <= self.num_convs:
            raise ConfigError(f"PANetMaskHead.ff_start={ff_start}: expected 1 to num_convs={self.num_convs}")
        self.ff_start = ff_start
        self.ff = self._branch(ff_relu) if with_ff else None
        self.convs[0] = LevelFusion([self._conv(self.in_channels) for _ in range(num_levels)], fusion)

    def _conv(self, in_channels: int, out_channels: int | None = None) -> ConvModule:
        size = self.conv_kernel_size
        options = {"padding": (size - 1) // 2, "conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg}
        return ConvModule(in_channels, out_channels or self.conv_out_channels, size, **options)

    def _branch(self, relu: bool) -> nn.Sequential:
        width = self.conv_out_channels
        height_in, width_in = self.roi_feat_size
        scale = 1 if self.upsample is None else self.scale_factor
        linear = nn.Linear(width // 2 * height_in * width_in, height_in * width_in * scale**2)
        xavier_init(linear, distribution="uniform")
        shape = (1, height_in * scale, width_in * scale)
        layers = [self._conv(width), self._conv(width, width // 2), nn.Flatten(), linear, nn.Unflatten(1, shape)]
        return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(K, classes, 2h, 2w)`` of regions ``(K, levels, C, h, w)``; K may be 0."""
        branch = None
        for i, conv in enumerate(self.convs, start=1):
            x = conv(x)
            if self.ff is not None and i == self.ff_start:
                branch = self.ff(x)
        if self.upsample is not None:
            x = self.upsample(x)
            if self.upsample_method == "deconv":
                x = self.relu(x)
        logits = self.conv_logits(x)
        return logits if branch is None else logits + branch
