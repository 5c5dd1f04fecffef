"""SSD300 on COCO (Liu et al. 2016, arXiv 1512.02325): 25.5 AP in MMDetection.

120 passes over the images: 24 epochs of 5.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.detection import *

from mmdet.datasets.transforms import Expand, MinIoURandomCrop, PhotoMetricDistortion, RandomFlip, Resize
from mmdet.models import (
    DetDataPreprocessor,
    SingleStageDetector,
    SSDHead,
    SSDNeck,
    SSDVGG,
)

model = dict(
    type=SingleStageDetector,
    data_preprocessor=dict(
        type=DetDataPreprocessor, mean=[123.675, 116.28, 103.53], std=[1, 1, 1], bgr_to_rgb=True, pad_size_divisor=1
    ),
    backbone=dict(
        type=SSDVGG,
        depth=16,
        with_last_pool=False,
        ceil_mode=True,
        out_indices=(3, 4),
        out_feature_indices=(22, 34),
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://vgg16_caffe"),
    ),
    neck=dict(
        type=SSDNeck,
        in_channels=(512, 1024),
        out_channels=(512, 1024, 512, 256, 256, 256),
        level_strides=(2, 2, 1, 1),
        level_paddings=(1, 1, 0, 0),
        l2_norm_scale=20,
    ),
    bbox_head=dict(
        type=SSDHead,
        in_channels=(512, 1024, 512, 256, 256, 256),
        num_classes=80,
        anchor_generator=dict(
            type="SSDAnchorGenerator",
            scale_major=False,
            input_size=300,
            basesize_ratio_range=(0.15, 0.9),
            strides=[8, 16, 32, 64, 100, 300],
            ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2]),
    ),
    train_cfg=dict(
        assigner=dict(
            type="MaxIoUAssigner",
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.0,
            ignore_iof_thr=-1,
            gt_max_assign_all=False,
        ),
        sampler=dict(type="PseudoSampler"),
        smoothl1_beta=1.0,
        allowed_border=-1,
        pos_weight=-1,
        neg_pos_ratio=3,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=1000, nms=dict(type="nms", iou_threshold=0.45), min_bbox_size=0, score_thr=0.02, max_per_img=200
    ),
)
train_pipeline = [
    dict(type=Expand, mean=[123.675, 116.28, 103.53], to_rgb=True, ratio_range=(1, 4)),
    dict(type=MinIoURandomCrop, min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    dict(type=Resize, scale=(300, 300), keep_ratio=False),
    dict(type=RandomFlip, prob=0.5),
    dict(
        type=PhotoMetricDistortion,
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18,
    ),
]
test_pipeline = [dict(type=Resize, scale=(300, 300), keep_ratio=False)]
repeat = 5
batch_size = 8
lr_batch = 64
optimizer = dict(type="SGD", lr=2e-3, momentum=0.9, weight_decay=5e-4)
max_epochs = 24
schedule = [
    dict(type="LinearLR", start_factor=0.001, end=500, by_epoch=False),
    dict(type="MultiStepLR", milestones=[16, 22], gamma=0.1),
]
