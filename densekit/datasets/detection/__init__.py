"""Detection data: COCO, YOLO, Pascal VOC and mask folders, recognised by themselves, checked, and read as COCO."""

from densekit.datasets.detection.check import check_detection
from densekit.datasets.detection.dataset import DetectionDataset, DetectionImage
from densekit.datasets.detection.draft import DetectionSource
from densekit.datasets.detection.inspection import (
    Inspection,
    PreparedDetection,
    inspect_detection,
    prepare_detection,
)
from densekit.datasets.detection.reading import read
from densekit.datasets.detection.recognize import recognize

__all__ = [
    "DetectionDataset",
    "DetectionImage",
    "DetectionSource",
    "Inspection",
    "PreparedDetection",
    "check_detection",
    "inspect_detection",
    "prepare_detection",
    "read",
    "recognize",
]
