"""Mask R-CNN with FPN on COCO, 1x: 38.2 AP of boxes and 34.7 of masks in MMDetection."""

from mmengine.config import read_base

with read_base():
    from ._base_.detection import *

from mmdet.models import FCNMaskHead, FPN, StandardRoIHead

model = dict(
    backbone="resnet50",
    neck=dict(type=FPN),
    head=dict(type=StandardRoIHead, mask_head=dict(type=FCNMaskHead)),
)
