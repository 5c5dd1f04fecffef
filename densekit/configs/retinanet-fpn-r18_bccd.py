"""RetinaNet with FPN on a ResNet-18, from scratch, for a few hundred small images: trains on 2 CPU cores.

Written for the blood cells of BCCD (205 training images of 640x480): densekit train this --data PATH/BCCD
"""

from mmengine.config import read_base

with read_base():
    from ._base_.small_data import *

from mmdet.models import FPN, RetinaHead

model = dict(backbone="resnet18", neck=dict(type=FPN, out_channels=128), head=dict(type=RetinaHead, feat_channels=128))
max_epochs = 40  # takes as long as 30 with SEPC-lite
