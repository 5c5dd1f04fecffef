"""COCO scores of detectors, and what is behind them: kinds of errors, confusions, curves, the worst images."""

from densekit.evaluation.detection.average_precision import DetectionScores, evaluate, score_all
from densekit.evaluation.detection.comparison import Comparison
from densekit.evaluation.detection.confusion import Confusion, confusion_matrix
from densekit.evaluation.detection.curves import PRCurve, pr_curves
from densekit.evaluation.detection.error_split import ErrorSplit, error_split
from densekit.evaluation.detection.metric import DetectionMetric
from densekit.evaluation.detection.sources import read_detections, read_truth, write_detections
from densekit.evaluation.detection.worst import WorstImage, worst_images

__all__ = [
    "Comparison",
    "Confusion",
    "DetectionMetric",
    "DetectionScores",
    "ErrorSplit",
    "PRCurve",
    "WorstImage",
    "confusion_matrix",
    "error_split",
    "evaluate",
    "pr_curves",
    "read_detections",
    "read_truth",
    "score_all",
    "worst_images",
    "write_detections",
]
