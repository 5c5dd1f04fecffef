"""D-Former as published (Wu et al., arXiv 2201.00462), on 64x128x128 patches.

Nothing but the network is published; the recipe is nnFormer's, the framework the authors' code comes from, as a
stand-in.
"""

from mmengine.config import read_base

with read_base():
    from .volume import *

from densekit.models.heads.patch_expanding_head import PatchExpandingHead
from densekit.models.losses.deep_supervision import DeepSupervisionLoss
from densekit.models.losses.dice_ce import DiceCELoss
from densekit.models.necks.dformer_decoder import DFormerDecoder

model = dict(
    backbone=dict(type="dformer"),
    neck=dict(type=DFormerDecoder, depths=(2, 2, 6), heads=(3, 6, 12), unit=(2, 8, 8)),
    head=dict(
        type=PatchExpandingHead,
        deep_supervision=3,
        loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True)),
    ),
)
