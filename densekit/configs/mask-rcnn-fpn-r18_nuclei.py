"""Mask R-CNN with FPN on a ResNet-18, from scratch, for small objects in few images: trains on 2 CPU cores.

Written for the nuclei of the 2018 Data Science Bowl (one mask PNG per nucleus): densekit train this --data PATH
"""

from mmengine.config import read_base

with read_base():
    from ._base_.small_data import *

from mmcv.transforms import RandomChoiceResize
from mmdet.datasets.transforms import RandomFlip, Resize
from mmdet.models import FPN, FCNMaskHead, StandardRoIHead

train_pipeline = [
    dict(type=RandomChoiceResize, scales=[(640, 384), (640, 448), (640, 512)], keep_ratio=True),
    dict(type=RandomFlip, prob=0.5, direction="horizontal"),
    dict(type=RandomFlip, prob=0.5, direction="vertical"),
]
test_pipeline = [dict(type=Resize, scale=(640, 448), keep_ratio=True)]
model = dict(
    backbone="resnet18",
    neck=dict(type=FPN, out_channels=128),
    rpn_head=dict(anchor_generator=dict(scales=[4])),  # 16 pixels at the finest level: nuclei are small
    head=dict(
        type=StandardRoIHead,
        bbox_head=dict(fc_out_channels=512),
        mask_head=dict(type=FCNMaskHead, conv_out_channels=128),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=500), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(max_per_img=500), rcnn=dict(max_per_img=300)),
)
batch_size = 2
max_epochs = 20
max_dets = 300  # an image may have more than 100 nuclei
