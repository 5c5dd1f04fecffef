"""Image or volume -> pyramid of features."""

from densekit.models.backbones.cas_vit import CASViT
from densekit.models.backbones.dformer import DFormer
from densekit.models.backbones.emov2 import EMOv2
from densekit.models.backbones.hornet import HorNet
from densekit.models.backbones.lsnet import LSNet
from densekit.models.backbones.mit import MixVisionTransformer
from densekit.models.backbones.monai_network import MonaiNetwork
from densekit.models.backbones.smt import SMT
from densekit.models.backbones.timm_backbone import TimmBackbone
from densekit.models.backbones.unireplknet import UniRepLKNet

__all__ = [
    "SMT",
    "CASViT",
    "DFormer",
    "EMOv2",
    "HorNet",
    "LSNet",
    "MixVisionTransformer",
    "MonaiNetwork",
    "TimmBackbone",
    "UniRepLKNet",
]
