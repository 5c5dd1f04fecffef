"""MONAI's DynUNet (16-32-64-128, no deep supervision) on MSD hippocampus: trains in 20 minutes on 2 CPU cores.

Prepare: densekit prepare msd PATH/Task04_Hippocampus data/hippocampus
"""

from mmengine.config import read_base

with read_base():
    from ._base_.monai import *
    from ._base_.hippocampus import *

model = dict(
    backbone=dict(type="monai_dynunet_small"),
    head=dict(type=LogitsHead, loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True))),
)
max_epochs = 44
