"""FreeAnchor with FPN on COCO, 1x: 38.7 AP in MMDetection."""

from mmengine.config import read_base

with read_base():
    from ._base_.one_stage import *

from mmdet.models import FPN, FreeAnchorRetinaHead

model = dict(
    backbone="resnet50",
    neck=dict(type=FPN),
    head=dict(type=FreeAnchorRetinaHead),
)
clip_grad = 35.0
