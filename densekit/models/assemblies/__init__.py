"""Whole encoder-decoder models."""

from densekit.models.assemblies.volume_segmentor import VolumeSegmentor

__all__ = ["VolumeSegmentor"]
