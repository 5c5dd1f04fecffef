"""FreeAnchor with RCNet on COCO, 1x."""

from mmengine.config import read_base

with read_base():
    from ._base_.rcnet import *

from mmdet.models import FreeAnchorRetinaHead

from densekit.models.necks.rcnet import RCFPN

model = dict(
    backbone="resnet50",
    neck=dict(type=RCFPN),
    head=dict(type=FreeAnchorRetinaHead),
)
clip_grad = 35.0
