"""ATSS with RCNet on COCO, 1x: 42.6 AP published."""

from mmengine.config import read_base

with read_base():
    from ._base_.rcnet import *

from mmdet.models import ATSSHead

from densekit.models.necks.rcnet import RCFPN

model = dict(
    backbone="resnet50",
    neck=dict(type=RCFPN),
    head=dict(type=ATSSHead),
)
