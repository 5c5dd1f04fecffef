"""FCOS with RCNet on COCO, 1x."""

from mmengine.config import read_base

with read_base():
    from ._base_.rcnet import *

from mmdet.models import FCOSHead

from densekit.models.necks.rcnet import RCFPN

model = dict(
    backbone="resnet50",
    neck=dict(type=RCFPN),
    head=dict(type=FCOSHead),
)
paramwise = dict(bias_lr_mult=2.0, bias_decay_mult=0.0)
schedule = [
    dict(type="LinearLR", start_factor=1 / 3, end=500, by_epoch=False),
    dict(type="MultiStepLR", milestones=[8, 11], gamma=0.1),
]
