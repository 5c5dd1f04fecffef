"""A linear classifier of pixels, as frozen encoders are judged by (Oquab et al. 2023, arXiv 2304.07193)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from densekit.models.layers.pyramid import BATCH_NORM
from densekit.registry import MODELS


@MODELS.register_module()
class LinearHead(BaseDecodeHead):
    """All maps at the size of the finest, side by side; a norm, and one linear layer: nothing else learns.

    Args:
        in_channels: Channels of each map.
        num_classes: Number of classes.
        in_index: Which maps.
        norm_cfg: Norm of the maps.
        **options: Those of MMSegmentation's ``BaseDecodeHead``.
    """

    spatial_dims = 2

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        in_index: Sequence[int],
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
        **options: Any,
    ):
        super().__init__(
            list(in_channels),
            sum(in_channels),
            num_classes=num_classes,
            in_index=list(in_index),
            input_transform="resize_concat",
            norm_cfg=norm_cfg,
            **options,
        )
        self.in_channels = tuple(in_channels)
        self.norm = build_norm_layer(norm_cfg, self.channels)[1]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps ``(B, C_l, H_l, W_l)`` to logits ``(B, K, H, W)`` at the size of the first."""
        return self.cls_seg(self.norm(self._transform_inputs(inputs)))
