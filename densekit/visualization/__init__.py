"""What the user looks at: montages of volumes with their labels, training curves, HTML reports."""

from densekit.visualization.curves import read_scalars, write_curves
from densekit.visualization.montage import ValidationRow, validation_picture, write_montage
from densekit.visualization.palette import css_color, label_color
from densekit.visualization.report import CaseReport, write_prediction_report, write_training_report

__all__ = [
    "CaseReport",
    "ValidationRow",
    "css_color",
    "label_color",
    "read_scalars",
    "validation_picture",
    "write_curves",
    "write_montage",
    "write_prediction_report",
    "write_training_report",
]
