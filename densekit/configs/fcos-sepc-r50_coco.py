"""FCOS with SEPC on COCO, 1x."""

from mmengine.config import read_base

with read_base():
    from ._base_.sepc import *

from mmdet.models import FPN

from densekit.models.heads.paired_heads import SEPCFCOSHead
from densekit.models.necks.sepc import SEPC

model = dict(
    backbone="resnet50",
    neck=[dict(type=FPN), dict(type=SEPC)],
    head=dict(type=SEPCFCOSHead),
)
paramwise = dict(bias_lr_mult=2.0, bias_decay_mult=0.0)
