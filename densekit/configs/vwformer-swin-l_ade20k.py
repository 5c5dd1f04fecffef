"""VWFormer on Swin-L and ADE20K (arXiv 2404.16573), five branches as released."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k_640 import *

model = dict(
    backbone=dict(
        type="TimmBackbone", name="swin_large_patch4_window12_384.ms_in22k", out_norm="ln", drop_path_rate=0.3
    ),
    head=dict(type="vwformer", preset="ade", short_cut=False),
)
optimizer = dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05)
layer_decay = dict(rate=0.85, layers=12, by="layer")
paramwise = None
