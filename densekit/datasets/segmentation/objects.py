"""A folder an image with a mask file an object, as two classes: ``<id>/images/*.png`` + ``<id>/masks/*.png`` (DSB)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densekit.datasets.segmentation.classes import ClassList
from densekit.datasets.segmentation.draft import Draft, DraftPair, SegmentationSource
from densekit.datasets.segmentation.drawing import Canvas
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.segmentation.masks import read_mask
from densekit.datasets.shared.image_files import is_image, subfolders
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import DataError


def find(root: Path) -> SegmentationSource | None:
    """Look for folders with one image and its masks, in ``root`` or in its folders called like splits."""
    bases = [root, *(folder for folder in subfolders(root) if split_of(folder.name))]
    cases = [
        case for base in bases for case in subfolders(base) if _images(case / "images") and _images(case / "masks")
    ]
    if not cases or any(len(_images(case / "images")) != 1 for case in cases):
        return None
    if all(len(_images(case / "masks")) == 1 for case in cases):
        return None  # one mask an image: these are pairs
    return SegmentationSource("objects", root, f"one mask file per object, {len(cases)} images", read, cases)


def read(source: SegmentationSource) -> Draft:
    """List images with the masks of their objects."""
    pairs = []
    for case in source.found:
        image = _images(case / "images")[0].relative_to(source.root).as_posix()
        folder = (case / "masks").relative_to(source.root).as_posix()
        pairs.append(DraftPair(image, folder, split_of(image.rpartition("/")[0]), _images(case / "masks")))
    classes = ClassList(("background", "object"), (0, 1))  # the folders do not say what the objects are
    return Draft(pairs, classes, Findings(), _draw, background=0, named=False)


def _draw(pair: DraftPair, width: int, height: int) -> tuple[np.ndarray, bool]:
    canvas = Canvas(width, height)
    for path in pair.drawn:
        mask = read_mask(path).values
        mask = (mask.max(axis=2) if mask.ndim == 3 else mask) > 0
        if mask.shape != canvas.values.shape:
            raise DataError(f"{path}: is {mask.shape[1]} x {mask.shape[0]}, its image {width} x {height}")
        canvas.paint(1, mask)
    return canvas.values, canvas.overlaps


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [file for file in sorted(folder.iterdir()) if is_image(file.name) and not file.name.startswith(".")]
