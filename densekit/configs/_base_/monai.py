"""MONAI's networks as baselines, under the recipe and data path of every other method here."""

from mmengine.config import read_base

with read_base():
    from .volume import *

from densekit.models.heads.volume_head import LogitsHead
from densekit.models.losses.deep_supervision import DeepSupervisionLoss
from densekit.models.losses.dice_ce import DiceCELoss
