"""An FPN decoder on EfficientNet-Lite0 and aerial photographs of Dubai; pretrained=PATH: from ImageNet weights."""

from mmengine.config import read_base

with read_base():
    from ._base_.dubai import *

model = dict(backbone="tf_efficientnet_lite0", neck=dict(type="FPN", out_channels=128), head="semantic_fpn")
