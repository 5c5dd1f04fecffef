"""Whole scans: predict, bring back to the scan's grid, measure, write, and keep account of it."""

from densekit.inference.batch import BatchResult, CaseResult, predict_many
from densekit.inference.predictor import Prediction, VolumePredictor

__all__ = ["BatchResult", "CaseResult", "Prediction", "VolumePredictor", "predict_many"]
