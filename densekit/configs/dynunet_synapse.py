"""MONAI's DynUNet on Synapse: nnU-Net's architecture with deep supervision, a baseline.

Prepare: densekit prepare synapse PATH/RawData data/synapse
"""

from mmengine.config import read_base

with read_base():
    from ._base_.monai import *

model = dict(
    type=VolumeSegmentor,
    backbone=dict(
        type=MonaiNetwork,
        name="DynUNet",
        args=dict(
            kernel_size=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
            strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
            upsample_kernel_size=((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
            deep_supervision=True,
            deep_supr_num=2,
        ),
    ),
    head=dict(type=LogitsHead, loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True))),
)
data_root = "data/synapse"
mirror_relabel = False
