"""Heads for SEPC (arXiv 2005.03101): MMDetection's, reading a pair of maps per level, and without towers.

The neck makes one map for classification and one for localisation (:class:`densekit.models.necks.sepc.SEPC`), so only
the predictors remain. Losses, assignment and prediction are those of the base classes.
"""

from __future__ import annotations

from mmdet.models.dense_heads import ATSSHead, FCOSHead, FreeAnchorRetinaHead, FSAFHead, GFLHead, RetinaHead
from mmdet.models.dense_heads.anchor_free_head import AnchorFreeHead
from torch import Tensor, nn

from densekit.errors import ConfigError
from densekit.registry import MODELS

Pair = tuple[Tensor, Tensor]
"""One level: maps for classification and localisation, each ``(B, C, H, W)``."""


class PairedHead:
    """What the paired heads share: no towers, so predictors as wide as the maps they read.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of each map.
        stacked_convs: 0.
        **kwargs: Those of the base class.

    Raises:
        ConfigError: for ``stacked_convs`` or ``feat_channels`` that would need a tower.
    """

    spatial_dims, pairs = 2, True

    def __init__(self, num_classes: int, in_channels: int, *, stacked_convs: int = 0, **kwargs):
        if stacked_convs or kwargs.pop("feat_channels", in_channels) != in_channels:
            raise ConfigError(
                f"{type(self).__name__}: SEPC takes the place of the towers, so stacked_convs is 0 and feat_channels "
                f"is in_channels={in_channels}; leave both out"
            )
        super().__init__(num_classes, in_channels, stacked_convs=0, feat_channels=in_channels, **kwargs)


class PairedRetina(RetinaHead):
    """RetinaNet's predictors on a pair."""

    def forward_single(self, x: Pair) -> tuple[Tensor, Tensor]:
        """Scores and box deltas of one level, ``(B, A * classes, H, W)`` and ``(B, A * 4, H, W)``."""
        cls, loc = x
        return self.retina_cls(cls), self.retina_reg(loc)


class PairedAnchorFree(AnchorFreeHead):
    """Predictors of anchor-free heads on a pair."""

    def forward_single(self, x: Pair) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores, box distances, and the maps they come from, for predictors that subclasses add."""
        cls, loc = x
        return self.conv_cls(cls), self.conv_reg(loc), cls, loc


# Where the base head calls its own base for the predictions, the class with the paired ones stands between the two.
@MODELS.register_module()
class SEPCRetinaHead(PairedHead, PairedRetina):
    """RetinaNet's head on pairs."""

    recipe = "RetinaHead"


@MODELS.register_module()
class SEPCFreeAnchorRetinaHead(PairedHead, FreeAnchorRetinaHead, PairedRetina):
    """FreeAnchor's head on pairs."""

    recipe = "FreeAnchorRetinaHead"


@MODELS.register_module()
class SEPCFSAFHead(PairedHead, FSAFHead, PairedRetina):
    """FSAF's head on pairs."""

    recipe = "FSAFHead"


@MODELS.register_module()
class SEPCFCOSHead(PairedHead, FCOSHead, PairedAnchorFree):
    """FCOS's head on pairs; centerness reads the map that ``centerness_on_reg`` says."""

    recipe = "FCOSHead"


@MODELS.register_module()
class SEPCATSSHead(PairedHead, ATSSHead):
    """ATSS's head on pairs; centerness reads the localisation map."""

    recipe = "ATSSHead"

    def forward_single(self, x: Pair, scale: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, box deltas and centerness of one level."""
        cls, loc = x
        return self.atss_cls(cls), scale(self.atss_reg(loc)).float(), self.atss_centerness(loc)


@MODELS.register_module()
class SEPCGFLHead(PairedHead, GFLHead):
    """GFL's head on pairs."""

    recipe = "GFLHead"

    def forward_single(self, x: Pair, scale: nn.Module) -> tuple[Tensor, Tensor]:
        """Scores and distributions of box distances of one level."""
        cls, loc = x
        return self.gfl_cls(cls), scale(self.gfl_reg(loc)).float()
