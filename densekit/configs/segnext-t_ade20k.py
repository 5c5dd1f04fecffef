"""SegNeXt-T on ADE20K (arXiv 2209.08575)."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(backbone=dict(type="mmseg.MSCAN"), head="segnext")
