"""LoveDA: ``Train/Urban/images_png`` + ``Train/Urban/masks_png``, 7 classes, 0 is no data."""

from __future__ import annotations

from pathlib import Path

from densekit.datasets.segmentation.classes import packaged
from densekit.datasets.segmentation.draft import Draft, SegmentationSource
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.segmentation.pairs import Key, match
from densekit.datasets.shared.image_files import is_image, list_tree


def find(root: Path) -> SegmentationSource | None:
    """Look for the folders of LoveDA."""
    scenes = (root / split / scene for split in ("Train", "Val") for scene in ("Urban", "Rural"))
    if not any((scene / "masks_png").is_dir() for scene in scenes):
        return None
    return SegmentationSource("loveda", root, "LoveDA: urban and rural scenes, 7 classes", read)


def read(source: SegmentationSource) -> Draft:
    """Pair the files; those to test have no masks."""
    files = sorted(name for name in list_tree(source.root) if is_image(name))
    images, masks = ([file for file in files if f"/{kind}_png/" in file] for kind in ("images", "masks"))

    def key(file: str) -> Key:
        parts = file.split("/")
        return "/".join(parts[:-2]), parts[-1].rpartition(".")[0]

    findings = Findings()
    return Draft(match(images, masks, key, key, findings), packaged("loveda", ignored=(0,)), findings)
