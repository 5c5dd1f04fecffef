"""DDRNet-23-slim on Cityscapes (arXiv 2101.06085)."""

from mmengine.config import read_base

with read_base():
    from ._base_.cityscapes import *

model = dict(backbone=dict(type="mmseg.DDRNet"), head="ddrnet")
inference = dict(mode="whole")
optimizer = dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4)
schedule = [dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False)]
ohem = dict(thresh=0.9, min_kept=131072)
paramwise = None
pretrained = False
