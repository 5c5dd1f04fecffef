"""Label images: ADE20K, one's own images and masks, recognised by themselves, checked, and read as labels."""

from densekit.datasets.segmentation.check import check_segmentation
from densekit.datasets.segmentation.inspection import SegmentationInspection, inspect_segmentation
from densekit.datasets.segmentation.prepared import (
    Pair,
    PreparedSegmentation,
    prepare_segmentation,
    read_segmentation,
)
from densekit.datasets.segmentation.recognize import looks_like_segmentation, recognize

__all__ = [
    "Pair",
    "PreparedSegmentation",
    "SegmentationInspection",
    "check_segmentation",
    "inspect_segmentation",
    "looks_like_segmentation",
    "prepare_segmentation",
    "read_segmentation",
    "recognize",
]
