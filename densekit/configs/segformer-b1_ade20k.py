"""SegFormer-B1 on ADE20K in its own layout, with the decoder of the paper (arXiv 2105.15203)."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(backbone="mit_b1", head=dict(type="segformer", channels=256))
