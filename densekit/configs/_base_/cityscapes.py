"""Cityscapes, 19 classes: 160,000 steps of 8 crops of 1024 x 1024, predicted by tiles of 1024 with stride 768."""

from mmengine.config import read_base

with read_base():
    from .segmentation import *

data_root = "data/cityscapes"
train_pipeline = [
    dict(type="RandomResize", scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="densekit.RandomCrop", crop_size=(1024, 1024), cat_max_ratio=0.75),
    dict(type="mmseg.RandomFlip", prob=0.5),
    dict(type="densekit.PhotoMetricDistortion"),
]
test_pipeline = [dict(type="mmseg.Resize", scale=(2048, 1024), keep_ratio=True)]
inference = dict(mode="slide", crop=(1024, 1024), stride=(768, 768))
batch_size = 1
accumulate = 8
max_iters = 160_000
max_epochs = 10
paramwise = dict(custom_keys=dict(norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0)))
