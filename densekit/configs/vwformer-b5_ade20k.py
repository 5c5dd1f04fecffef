"""VWFormer on MiT-B5 and ADE20K (arXiv 2404.16573); four branches, SegFormer's recipe."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(backbone="mit_b5", head=dict(type="vwformer", preset="paper"))
