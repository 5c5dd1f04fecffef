"""RetinaNet with PAFPN on COCO, 1x."""

from mmengine.config import read_base

with read_base():
    from ._base_.one_stage import *

from mmdet.models import PAFPN, RetinaHead

model = dict(
    backbone="resnet50",
    neck=dict(type=PAFPN),
    head=dict(type=RetinaHead),
)
