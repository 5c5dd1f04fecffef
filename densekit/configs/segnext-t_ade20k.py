"""SegNeXt-T on ADE20K (arXiv 2209.08575)."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(
    backbone=dict(type="mmseg.MSCAN", embed_dims=[32, 64, 160, 256], depths=[3, 3, 5, 2]),
    head="segnext",
)
