"""D-Former as published (Wu et al., arXiv 2201.00462), on 64x128x128 patches.

Nothing but the network is published; the recipe is nnFormer's, the framework the authors' code comes from, as a
stand-in.
"""

from mmengine.config import read_base

with read_base():
    from .volume import *

from densekit.models.assemblies.volume_segmentor import VolumeSegmentor
from densekit.models.backbones.dformer import DFormer
from densekit.models.heads.patch_expanding_head import PatchExpandingHead
from densekit.models.losses.deep_supervision import DeepSupervisionLoss
from densekit.models.losses.dice_ce import DiceCELoss
from densekit.models.necks.dformer_decoder import DFormerDecoder

model = dict(
    type=VolumeSegmentor,
    backbone=dict(
        type=DFormer,
        widths=(96, 192, 384, 768),
        depths=(2, 2, 6, 2),
        heads=(3, 6, 12, 24),
        patch=(2, 4, 4),
        unit=(2, 8, 8),
    ),
    neck=dict(
        type=DFormerDecoder,
        in_channels=(96, 192, 384, 768),
        depths=(2, 2, 6),
        heads=(3, 6, 12),
        patch=(2, 4, 4),
        unit=(2, 8, 8),
    ),
    head=dict(
        type=PatchExpandingHead,
        in_channels=(96, 192, 384),
        patch=(2, 4, 4),
        deep_supervision=3,
        loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss, batch_dice=True)),
    ),
)
