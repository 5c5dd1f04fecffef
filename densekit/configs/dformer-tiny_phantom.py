"""A tiny D-Former (our size, not the paper's) on phantoms: the config of `make demo`, minutes on 2 CPU cores.

Prepare: densekit prepare phantom RAW --train 12
         densekit prepare synapse RAW/RawData data/phantom --classes 8 --spacing 6 4 4
"""

from mmengine.config import read_base

with read_base():
    from ._base_.volume import *

from densekit.models.heads.patch_expanding_head import PatchExpandingHead
from densekit.models.losses.deep_supervision import DeepSupervisionLoss
from densekit.models.losses.dice_ce import DiceCELoss
from densekit.models.necks.dformer_decoder import DFormerDecoder

model = dict(
    backbone=dict(type="dformer_tiny"),
    neck=dict(type=DFormerDecoder, depths=(2, 2), heads=(1, 2), unit=(4, 4, 4)),
    head=dict(
        type=PatchExpandingHead,
        deep_supervision=2,
        loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True)),
    ),
)
data_root = "data/phantom"
patch_size = (24, 48, 48)
batch_size = 2
iterations_per_epoch = 50
max_epochs = 12
val_interval = 4
num_workers = 1
foreground_ratio = 0.5
train_pipeline = None
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=1e-2)
schedule = [
    dict(type="LinearLR", start_factor=0.05, end=50, by_epoch=False),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False),
]
log_interval = 25
