"""Features of regions from every level of a pyramid (PANet, arXiv 1803.01534)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
from torch import Tensor

from densekit.ops.mmcv_ext.numerics import compute_dtype
from densekit.registry import MODELS


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
