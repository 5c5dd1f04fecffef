"""MONAI's SegResNet on Synapse, a baseline.

Prepare: densekit prepare synapse PATH/RawData data/synapse
"""

from mmengine.config import read_base

with read_base():
    from ._base_.monai import *

model = dict(
    backbone=dict(type="monai_segresnet"),
    head=dict(type=LogitsHead, loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True))),
)
data_root = "data/synapse"
mirror_relabel = False
# AdamW with warm-up and cosine decay, as these networks are usually trained.
optimizer = dict(type="AdamW", lr=1e-4, weight_decay=1e-5)
clip_grad = 12.0
schedule = [
    dict(type="LinearLR", start_factor=0.01, end=50),
    dict(type="CosineAnnealingLR", begin=50, eta_min=0.0),
]
