"""Pyramid of features -> pyramid of features."""

from densekit.models.necks.dformer_decoder import DFormerDecoder
from densekit.models.necks.simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ["DFormerDecoder", "SimpleFeaturePyramid"]
