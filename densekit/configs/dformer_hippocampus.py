"""A small D-Former (our size, not the paper's) on MSD hippocampus: trains in 20 minutes on 2 CPU cores.

Prepare: densekit prepare msd PATH/Task04_Hippocampus data/hippocampus
"""

from mmengine.config import read_base

with read_base():
    from ._base_.volume import *
    from ._base_.hippocampus import *

from densekit.models.heads.patch_expanding_head import PatchExpandingHead
from densekit.models.losses.deep_supervision import DeepSupervisionLoss
from densekit.models.losses.dice_ce import DiceCELoss
from densekit.models.necks.dformer_decoder import DFormerDecoder

# Units of 2x7x5 tokens fill the maps of 20x28x20 and 10x14x10 tokens without padding.
model = dict(
    backbone=dict(type="dformer_tiny", unit=(2, 7, 5), init="pytorch"),
    neck=dict(type=DFormerDecoder, depths=(2, 2), heads=(1, 2), unit=(2, 7, 5), init="pytorch"),
    head=dict(
        type=PatchExpandingHead,
        deep_supervision=2,
        init="pytorch",
        loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True)),
    ),
)
optimizer = dict(type="AdamW", lr=2e-3, weight_decay=1e-2)
max_epochs = 32
