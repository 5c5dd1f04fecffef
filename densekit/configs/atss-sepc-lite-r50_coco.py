"""ATSS with SEPC-lite on COCO, 1x."""

from mmengine.config import read_base

with read_base():
    from ._base_.sepc import *

from mmdet.models import FPN

from densekit.models.heads.paired_heads import SEPCATSSHead
from densekit.models.necks.sepc import SEPC

model = dict(
    backbone="resnet50",
    neck=[dict(type=FPN), dict(type=SEPC, pconv_deform=False)],
    head=dict(type=SEPCATSSHead),
)
