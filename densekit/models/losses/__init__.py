"""Losses."""

from densekit.models.losses.deep_supervision import DeepSupervisionLoss
from densekit.models.losses.dice_ce import DiceCELoss
from densekit.models.losses.label_images import BorderDistanceLoss, PixelFocalLoss, SoftDiceLoss

__all__ = ["BorderDistanceLoss", "DeepSupervisionLoss", "DiceCELoss", "PixelFocalLoss", "SoftDiceLoss"]
