"""VWFormer on ConvNeXt-S and ADE20K (arXiv 2404.16573), five branches as released."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(
    backbone=dict(type="TimmBackbone", name="convnext_small", out_norm="ln", drop_path_rate=0.4),
    head=dict(type="vwformer", preset="ade"),
)
optimizer = dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05)
layer_decay = dict(rate=0.9, layers=12, by="stage")
paramwise = None
