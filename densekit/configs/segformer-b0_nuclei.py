"""SegFormer-B0 on microscopy images of nuclei, two classes, from scratch."""

from mmengine.config import read_base

with read_base():
    from ._base_.dubai import *

model = dict(backbone="mit_b0", head="SegformerHead")
classes = None
ignore = None
train_pipeline = [
    dict(type="RandomResize", scale=(512, 512), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type="densekit.RandomCrop", crop_size=(256, 256), cat_max_ratio=0.99),
    dict(type="mmseg.RandomFlip", prob=0.5),
    dict(type="mmseg.RandomFlip", prob=0.5, direction="vertical"),
    dict(type="densekit.PhotoMetricDistortion"),
]
test_pipeline = [dict(type="mmseg.Resize", scale=(512, 512), keep_ratio=True)]
