"""Pyramid of features -> prediction and loss."""

from densekit.models.heads.patch_expanding_head import PatchExpandingHead
from densekit.models.heads.volume_head import LogitsHead, VolumeHead

__all__ = ["LogitsHead", "PatchExpandingHead", "VolumeHead"]
