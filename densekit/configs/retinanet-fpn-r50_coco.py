"""RetinaNet with FPN on COCO, 1x: 36.5 AP in MMDetection."""

from mmengine.config import read_base

with read_base():
    from ._base_.one_stage import *

from mmdet.models import FPN, RetinaHead

model = dict(
    backbone="resnet50",
    neck=dict(type=FPN),
    head=dict(type=RetinaHead),
)
