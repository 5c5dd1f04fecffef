"""Dense detectors on COCO: RetinaNet's learning rate, half that of Faster R-CNN."""

from mmengine.config import read_base

with read_base():
    from .detection import *

optimizer = dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4)
