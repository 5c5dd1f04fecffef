"""DeepLabV3+ on a ResNet-50 and ADE20K."""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k import *

model = dict(backbone="resnet50", head="deeplabv3plus")
optimizer = dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4)
schedule = [dict(type="PolyLR", power=0.9, eta_min=1e-4, by_epoch=False)]
paramwise = None
