"""Cascade R-CNN with FPN on COCO, 1x: 40.3 AP in MMDetection."""

from mmengine.config import read_base

with read_base():
    from ._base_.detection import *

from mmdet.models import CascadeRoIHead, FPN

model = dict(backbone="resnet50", neck=dict(type=FPN), head=dict(type=CascadeRoIHead))
