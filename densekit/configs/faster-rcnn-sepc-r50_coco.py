"""Faster R-CNN with pyramid convolution on COCO, 1x: about 2 AP more than with FPN alone, by the paper.

With regions SEPC is its plain convolution, which assemble() fills in: no integrated batch norm, no deformation.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.detection import *

from mmdet.models import FPN, StandardRoIHead

from densekit.models.necks.sepc import SEPC

model = dict(
    backbone="resnet50",
    neck=[dict(type=FPN), dict(type=SEPC)],
    head=dict(type=StandardRoIHead),
)
