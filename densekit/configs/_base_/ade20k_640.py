"""ADE20K for large encoders: 160,000 steps of 16 crops of 640 x 640."""

from mmengine.config import read_base

with read_base():
    from .segmentation import *

data_root = "data/ade/ADEChallengeData2016"
train_pipeline = [
    dict(type="RandomResize", scale=(2560, 640), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="densekit.RandomCrop", crop_size=(640, 640), cat_max_ratio=0.75),
    dict(type="mmseg.RandomFlip", prob=0.5),
    dict(type="densekit.PhotoMetricDistortion"),
]
test_pipeline = [dict(type="mmseg.Resize", scale=(2560, 640), keep_ratio=True)]
batch_size = 2
accumulate = 8
max_iters = 160_000
max_epochs = 10
