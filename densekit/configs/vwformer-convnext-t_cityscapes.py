"""VWFormer on ConvNeXt-T and Cityscapes (arXiv 2404.16573), four branches as released."""

from mmengine.config import read_base

with read_base():
    from ._base_.cityscapes import *

model = dict(
    backbone=dict(type="TimmBackbone", name="convnext_tiny", out_norm="ln", drop_path_rate=0.4),
    head=dict(type="vwformer", preset="cityscapes"),
)
optimizer = dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05)
layer_decay = dict(rate=0.9, layers=6, by="stage")
paramwise = None
