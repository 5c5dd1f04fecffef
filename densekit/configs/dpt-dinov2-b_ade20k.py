"""A DPT head on a frozen DINOv2 ViT-B/14."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(
    backbone=dict(type="TimmBackbone", name="vit_base_patch14_dinov2", frozen=True),
    head="dpt",
)
train_pipeline = [dict(type="mmseg.Resize", scale=(518, 518), keep_ratio=False)]  # nothing at random
test_pipeline = [dict(type="mmseg.Resize", scale=(518, 518), keep_ratio=False)]
max_iters = None
max_epochs = 10
paramwise = None
