"""Losses."""

from densekit.models.losses.deep_supervision import DeepSupervisionLoss
from densekit.models.losses.dice_ce import DiceCELoss

__all__ = ["DeepSupervisionLoss", "DiceCELoss"]
