"""As retinanet-fpn-r18_bccd.py, with SEPC-lite between FPN and head."""

from mmengine.config import read_base

with read_base():
    from ._base_.small_data import *

from mmdet.models import FPN

from densekit.models.heads.paired_heads import SEPCRetinaHead
from densekit.models.necks.sepc import SEPC

model = dict(
    backbone="resnet18",
    neck=[dict(type=FPN, out_channels=128), dict(type=SEPC, out_channels=128, pconv_deform=False)],
    head=dict(type=SEPCRetinaHead, feat_channels=128),
)
