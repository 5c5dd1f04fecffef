"""Objects in images and videos: predict, draw, count, write, and keep account of it."""

from densekit.inference.detection.batch import predict_detections
from densekit.inference.detection.predictor import DetectionPredictor
from densekit.inference.detection.result import DetectionResult
from densekit.inference.detection.tables import results_for

__all__ = ["DetectionPredictor", "DetectionResult", "predict_detections", "results_for"]
