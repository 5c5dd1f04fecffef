"""Mask2Former, as a semantic segmentor, on a ResNet-50 and ADE20K (arXiv 2112.01527)."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(backbone="resnet50", head="mask2former")
optimizer = dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05)
schedule = [dict(type="PolyLR", power=0.9, by_epoch=False)]
clip_grad = 0.01
paramwise = dict(custom_keys=dict(backbone=dict(lr_mult=0.1)), norm_decay_mult=0.0)
