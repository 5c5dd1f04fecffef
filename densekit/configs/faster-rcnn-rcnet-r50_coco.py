"""Faster R-CNN with RCNet on COCO, 1x."""

from mmengine.config import read_base

with read_base():
    from ._base_.detection import *

from mmdet.models import StandardRoIHead

from densekit.models.necks.rcnet import RCFPN

model = dict(
    backbone="resnet50",
    neck=dict(type=RCFPN),
    head=dict(type=StandardRoIHead),
)
batch_size = 4  # for the batch norm in the neck; with fewer images per GPU: norm_cfg=dict(type="GN", num_groups=32)
