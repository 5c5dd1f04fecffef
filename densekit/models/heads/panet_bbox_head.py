"""Box heads of PANet (arXiv 1803.01534): adaptive feature pooling in front of MMDetection's heads."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from torch import nn

from densekit.errors import ConfigError
from densekit.models.layers.level_fusion import LevelFusion
from densekit.registry import MODELS


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
        num_levels: Number of levels.
        fusion: ``"max"`` or ``"sum"``.
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
