"""MONAI's UNet on Synapse, a baseline.

Prepare: densekit prepare synapse PATH/RawData data/synapse
"""

from mmengine.config import read_base

with read_base():
    from ._base_.monai import *

model = dict(
    type=VolumeSegmentor,
    backbone=dict(
        type=MonaiNetwork,
        name="UNet",
        args=dict(
            channels=(32, 64, 128, 256, 512),
            strides=(2, 2, 2, 2),
            num_res_units=2,
            norm="instance",
        ),
    ),
    head=dict(type=LogitsHead, loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True))),
)
data_root = "data/synapse"
mirror_relabel = False
