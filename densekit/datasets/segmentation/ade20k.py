"""ADE20K as the scene parsing challenge has it: ``images/training`` + ``annotations/training``, 0 is unlabelled."""

from __future__ import annotations

from pathlib import Path

from densekit.datasets.segmentation.classes import packaged
from densekit.datasets.segmentation.draft import Draft, SegmentationSource
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.segmentation.pairs import match
from densekit.datasets.shared.image_files import is_image, list_tree

_INFO = "objectInfo150.txt"


def find(root: Path) -> SegmentationSource | None:
    """Look for the folders of ADEChallengeData2016, by its name or by its list of objects."""
    there = any((root / "images" / split).is_dir() for split in ("training", "validation"))
    if not (there and (root / "annotations").is_dir()):
        return None
    named = (root / _INFO).is_file() or root.name.lower().startswith("adechallenge")
    if not named and not next(root.glob("images/*/ADE_*"), None):
        return None
    return SegmentationSource("ade20k", root, "ADE20K: images and annotations, 150 classes", read)


def read(source: SegmentationSource) -> Draft:
    """Pair the files; the value 0, which the class list lacks, is unlabelled."""
    findings, files = Findings(), sorted(name for name in list_tree(source.root) if is_image(name))

    def key(file: str) -> tuple[str, str]:
        folder, _, name = file.partition("/")[2].rpartition("/")
        return folder, name.rpartition(".")[0]

    images, masks = ([file for file in files if file.startswith(f"{top}/")] for top in ("images", "annotations"))
    return Draft(match(images, masks, key, key, findings), packaged("ade20k", ignored=(0,)), findings)
