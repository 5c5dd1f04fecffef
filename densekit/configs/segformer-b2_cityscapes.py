"""SegFormer-B2 on Cityscapes (arXiv 2105.15203)."""

from mmengine.config import read_base

with read_base():
    from ._base_.cityscapes import *

model = dict(backbone="mit_b2", head="segformer")
