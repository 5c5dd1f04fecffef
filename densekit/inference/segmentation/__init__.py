"""Classes of the pixels of images and videos: predict, draw, measure, write, and keep account of it."""

from densekit.inference.segmentation.batch import predict_segmentations
from densekit.inference.segmentation.predictor import SegmentationPredictor
from densekit.inference.segmentation.result import SegmentationResult

__all__ = ["SegmentationPredictor", "SegmentationResult", "predict_segmentations"]
