"""Label images: ADE20K, one's own images and masks, recognised by themselves, and read as labels."""

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
    "looks_like_segmentation",
    "prepare_segmentation",
    "read_segmentation",
    "recognize",
]
