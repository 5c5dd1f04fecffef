"""Scores of semantic segmentation, and what is behind them: counted pixels, kinds of errors, the worst images."""

from densekit.evaluation.segmentation.counts import BOUNDARY, ImageCounts, SegmentationCounts, count_image
from densekit.evaluation.segmentation.errors import KINDS, error_map
from densekit.evaluation.segmentation.metric import SegmentationMetric
from densekit.evaluation.segmentation.scores import SegmentationScores, score_all

__all__ = [
    "BOUNDARY",
    "KINDS",
    "ImageCounts",
    "SegmentationCounts",
    "SegmentationMetric",
    "SegmentationScores",
    "count_image",
    "error_map",
    "score_all",
]
