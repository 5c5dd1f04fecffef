"""Panoptic FPN's semantic branch on a ResNet-50 and ADE20K: the cheapest honest decoder to compare encoders with."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(backbone="resnet50", neck="FPN", head="semantic_fpn")
