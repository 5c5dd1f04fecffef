"""A linear head on a frozen DINOv2 ViT-S/14: what the encoder gives is kept on disk, the head trains in minutes."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(
    backbone=dict(type="TimmBackbone", name="vit_small_patch14_dinov2", frozen=True),
    head="linear",
)
train_pipeline = [dict(type="mmseg.Resize", scale=(518, 518), keep_ratio=False)]  # nothing at random
test_pipeline = [dict(type="mmseg.Resize", scale=(518, 518), keep_ratio=False)]
max_iters = None
max_epochs = 10
optimizer = dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4)
schedule = [dict(type="PolyLR", power=1.0, by_epoch=False)]
paramwise = None
