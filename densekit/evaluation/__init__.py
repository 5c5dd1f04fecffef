"""Scores of every kind of prediction; importing this package registers the metrics."""

import densekit.evaluation.detection
import densekit.evaluation.segmentation
import densekit.evaluation.volume  # noqa: F401
