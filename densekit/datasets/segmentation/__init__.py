"""Label images: ADE20K, one's own images and masks, recognised by themselves, and read as labels."""

from densekit.datasets.segmentation.prepared import (
    Pair,
    PreparedSegmentation,
    prepare_segmentation,
    read_segmentation,
)
from densekit.datasets.segmentation.recognize import recognize

__all__ = ["Pair", "PreparedSegmentation", "prepare_segmentation", "read_segmentation", "recognize"]
