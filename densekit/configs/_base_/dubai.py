"""Aerial photographs of Dubai (45 of about 800 x 1000 pixels, 6 classes), from scratch: 15 minutes of a CPU core."""

from mmengine.config import read_base

with read_base():
    from .segmentation import *

classes = dict(
    building=(60, 16, 152),
    land=(132, 41, 246),
    road=(110, 193, 228),
    vegetation=(254, 221, 58),
    water=(226, 169, 41),
    other=(155, 155, 155),
)
ignore = [[0, 0, 0]]
train_pipeline = [
    dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.5, 1.0), keep_ratio=True),
    dict(type="densekit.RandomCrop", crop_size=(256, 256), cat_max_ratio=0.75),
    dict(type="mmseg.RandomFlip", prob=0.5),
    dict(type="mmseg.RandomFlip", prob=0.5, direction="vertical"),
    dict(type="densekit.PhotoMetricDistortion"),
]
test_pipeline = [dict(type="mmseg.Resize", scale=(768, 768), keep_ratio=True)]
pretrained = False
batch_size = 8
accumulate = 1
max_iters = 320
max_epochs = 5
optimizer = dict(type="AdamW", lr=6e-4, betas=(0.9, 0.999), weight_decay=0.01)
schedule = [
    dict(type="LinearLR", start_factor=1e-3, end=50, by_epoch=False),
    dict(type="PolyLR", power=1.0, begin=50, by_epoch=False),
]
log_interval = 20
