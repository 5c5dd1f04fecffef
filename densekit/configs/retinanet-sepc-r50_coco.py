"""RetinaNet with SEPC on COCO, 1x: 39.6 AP published."""

from mmengine.config import read_base

with read_base():
    from ._base_.sepc import *

from mmdet.models import FPN, SmoothL1Loss

from densekit.models.heads.paired_heads import SEPCRetinaHead
from densekit.models.necks.sepc import SEPC

model = dict(
    backbone="resnet50",
    neck=[dict(type=FPN), dict(type=SEPC)],
    head=dict(type=SEPCRetinaHead, loss_bbox=dict(type=SmoothL1Loss, beta=0.11, loss_weight=1.0)),
)
