"""Faster R-CNN with PANet on COCO, 1x: bottom-up path and adaptive feature pooling before two fully connected layers.

The authors reach 39.6 AP with group norm and images of six sizes (mask-rcnn-panet-r50_coco.py has that recipe).
"""

from mmengine.config import read_base

with read_base():
    from ._base_.detection import *

from mmdet.models import StandardRoIHead

from densekit.models.heads.panet import PANetShared2FCBBoxHead
from densekit.models.necks.panet import PANetNeck

model = dict(
    backbone="resnet50",
    neck=dict(type=PANetNeck),
    head=dict(type=StandardRoIHead, bbox_head=dict(type=PANetShared2FCBBoxHead)),
)
