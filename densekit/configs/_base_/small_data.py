"""Recipe for a few hundred images of one's own, without pretrained weights: small images, AdamW, 30 epochs."""

from mmengine.config import read_base

with read_base():
    from .detection import *

from mmdet.datasets.transforms import RandomFlip, Resize
from mmcv.transforms import RandomChoiceResize

train_pipeline = [
    dict(type=RandomChoiceResize, scales=[(480, 240), (480, 280), (480, 320), (480, 360)], keep_ratio=True),
    dict(type=RandomFlip, prob=0.5, direction="horizontal"),
    dict(type=RandomFlip, prob=0.5, direction="vertical"),
]
test_pipeline = [dict(type=Resize, scale=(480, 360), keep_ratio=True)]
batch_size = 4
pretrained = False
max_epochs = 30
lr_batch = None
optimizer = dict(type="AdamW", lr=5e-4, weight_decay=0.05)
clip_grad = 35.0
channels_last = True
ema = 0.005
schedule = [
    dict(type="LinearLR", start_factor=0.01, end=100, by_epoch=False),
    dict(type="CosineAnnealingLR", by_epoch=False),
]
val_interval = 5
log_interval = 10
