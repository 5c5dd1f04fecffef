"""Scores of label maps against references: Dice, HD95, normalized surface Dice, and the table of a whole cohort."""

from densekit.evaluation.volume.metric import VolumeMetric
from densekit.evaluation.volume.score import EMPTY_MASKS, StructureScore, confusion_counts, score_case
from densekit.evaluation.volume.surface import hausdorff95, normalized_surface_dice, surface_distances, surface_voxels
from densekit.evaluation.volume.table import Mean, ScoreTable, Summary

__all__ = [
    "EMPTY_MASKS",
    "Mean",
    "ScoreTable",
    "StructureScore",
    "Summary",
    "VolumeMetric",
    "confusion_counts",
    "hausdorff95",
    "normalized_surface_dice",
    "score_case",
    "surface_distances",
    "surface_voxels",
]
