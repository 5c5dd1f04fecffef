"""As fpn-lite0_dubai with a frozen encoder: pretrained=PATH is needed."""

from mmengine.config import read_base

with read_base():
    from ._base_.dubai import *

model = dict(
    backbone=dict(type="TimmBackbone", name="tf_efficientnet_lite0", frozen=True),
    neck=dict(type="FPN", out_channels=128),
    head="semantic_fpn",
)
