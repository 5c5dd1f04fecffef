"""COCO-Stuff 164k: ``images/<split>`` + ``annotations/<split>``, 171 classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from densekit.datasets.segmentation.classes import packaged
from densekit.datasets.segmentation.draft import Draft, SegmentationSource
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.segmentation.pairs import Key, match
from densekit.datasets.shared.image_files import is_image, list_tree, subfolders

_SPLITS = ("train2017", "val2017")
_TRAINED = "_labelTrainIds"
_IMAGES = ("images", "")
_MASKS = ("annotations", "stuffthingmaps", "stuffthingmaps_trainval2017")


def find(root: Path) -> SegmentationSource | None:
    """Look for pixel maps (``stuffthingmaps``) of COCO's splits."""
    for images in _IMAGES:
        for masks in _MASKS:
            if all((root / images / s).is_dir() and (root / masks / s).is_dir() for s in _SPLITS):
                return SegmentationSource(
                    "coco_stuff", root, f"COCO-Stuff: pixel maps in {masks}, 171 classes", read, (images, masks)
                )
    return None


def read(source: SegmentationSource) -> Draft:
    """Pair the files: labelTrainIds (0 to 170) where there are some, else COCO's category ids less one."""
    images, masks = (_listed(source.root, top) for top in source.found)
    trained = [file for file in masks if file.rpartition(".")[0].endswith(_TRAINED)]

    def key(file: str) -> Key:
        folder, _, name = file.rpartition("/")
        return folder.rpartition("/")[2], name.rpartition(".")[0].removesuffix(_TRAINED)

    findings, classes = Findings(), packaged("coco_stuff")
    if trained:
        classes = replace(classes, values=tuple(range(len(classes.names))))
    return Draft(match(images, trained or masks, key, key, findings), classes, findings)


def _listed(root: Path, top: str) -> list[str]:
    """Images below a folder that lie in one of the splits."""
    start = f"{top}/" if top else ""
    folders = [folder for folder in subfolders(root / top) if folder.name in _SPLITS]
    return [f"{start}{folder.name}/{f}" for folder in folders for f in sorted(list_tree(folder)) if is_image(f)]
