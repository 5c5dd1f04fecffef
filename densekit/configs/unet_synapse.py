"""MONAI's UNet on Synapse, a baseline.

Prepare: densekit prepare synapse PATH/RawData data/synapse
"""

from mmengine.config import read_base

with read_base():
    from ._base_.monai import *

model = dict(
    backbone=dict(type="monai_unet"),
    head=dict(type=LogitsHead, loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True))),
)
data_root = "data/synapse"
mirror_relabel = False
