"""Image or volume -> pyramid of features."""

from densekit.models.backbones.dformer import DFormer
from densekit.models.backbones.hornet import HorNet
from densekit.models.backbones.mit import MixVisionTransformer
from densekit.models.backbones.monai_network import MonaiNetwork
from densekit.models.backbones.timm_backbone import TimmBackbone
from densekit.models.backbones.unireplknet import UniRepLKNet

__all__ = ["DFormer", "HorNet", "MixVisionTransformer", "MonaiNetwork", "TimmBackbone", "UniRepLKNet"]
