"""Pyramid of features -> pyramid of features."""

from densekit.models.necks.dformer_decoder import DFormerDecoder

__all__ = ["DFormerDecoder"]
