"""FreeAnchor with SEPC on COCO, 1x: 43.0 AP published."""

from mmengine.config import read_base

with read_base():
    from ._base_.sepc import *

from mmdet.models import FPN

from densekit.models.heads.paired_heads import SEPCFreeAnchorRetinaHead
from densekit.models.necks.sepc import SEPC

model = dict(
    backbone="resnet50",
    neck=[dict(type=FPN), dict(type=SEPC)],
    head=dict(type=SEPCFreeAnchorRetinaHead),
)
