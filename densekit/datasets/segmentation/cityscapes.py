"""Cityscapes: ``leftImg8bit/<split>/<city>`` + ``gtFine/<split>/<city>``, 19 classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from densekit.datasets.segmentation.classes import packaged
from densekit.datasets.segmentation.draft import Draft, SegmentationSource
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.segmentation.pairs import Key, match
from densekit.datasets.shared.image_files import is_image, list_tree

_OTHERS = tuple(range(34))
"""Label ids, of which 19 are classes."""


def find(root: Path) -> SegmentationSource | None:
    """Look for the folders of images and of fine annotations."""
    if not ((root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir()):
        return None
    return SegmentationSource("cityscapes", root, "Cityscapes: leftImg8bit and gtFine, 19 classes", read)


def read(source: SegmentationSource) -> Draft:
    """Pair the files: labelTrainIds (0 to 18) where every image has one, else labelIds."""
    files = sorted(name for name in list_tree(source.root) if is_image(name))
    images = [file for file in files if file.startswith("leftImg8bit/")]
    trained, plain = ([f for f in files if f.endswith(f"_gtFine_{kind}.png")] for kind in ("labelTrainIds", "labelIds"))
    by_train_id = len(trained) >= max(1, len(plain))

    def key(file: str) -> Key:
        folder, _, name = file.partition("/")[2].rpartition("/")
        return folder, "_".join(name.split("_")[:3])

    findings, classes = Findings(), packaged("cityscapes")
    if by_train_id:
        classes = replace(classes, values=tuple(range(len(classes.names))))
    else:
        classes = replace(classes, ignored=tuple(value for value in _OTHERS if value not in classes.values))
    pairs = match(images, trained if by_train_id else plain, key, key, findings)
    blank = [pair for pair in pairs if pair.split == "test"]  # the masks of the test images are empty
    words = "test images, whose labels are not public, left out"
    findings.add("layout", *(pair.image for pair in blank[:1]), count=len(blank), message=words)
    return Draft([pair for pair in pairs if pair.split != "test"], classes, findings)
