"""Scores of label maps against references: Dice, HD95, normalized surface Dice, and the table of a whole cohort."""

import densekit.evaluation.detection  # noqa: F401  registers DetectionMetric
from densekit.evaluation.overlap import confusion_counts
from densekit.evaluation.score import EMPTY_MASKS, StructureScore, score_case
from densekit.evaluation.surface import hausdorff95, normalized_surface_dice, surface_distances, surface_voxels
from densekit.evaluation.table import Mean, ScoreTable, Summary
from densekit.evaluation.volume_metric import VolumeMetric

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
