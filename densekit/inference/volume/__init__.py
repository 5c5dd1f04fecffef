"""Whole scans: predict, bring back to the scan's grid, measure, write, and keep account of it."""

from densekit.inference.volume.batch import BatchResult, CaseResult, predict_many
from densekit.inference.volume.prediction import Prediction
from densekit.inference.volume.predictor import VolumePredictor

__all__ = ["BatchResult", "CaseResult", "Prediction", "VolumePredictor", "predict_many"]
