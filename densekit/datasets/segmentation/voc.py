"""Pascal VOC 2012, Pascal Context, and CVAT's "segmentation mask" export, which all list images in ``ImageSets``."""

from __future__ import annotations

from pathlib import Path

from densekit.datasets.segmentation.classes import ClassList, packaged, read_class_list
from densekit.datasets.segmentation.draft import Draft, DraftPair, SegmentationSource
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.shared.image_files import is_image
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import DataError
from densekit.io.files import read_text

_VOID = (224, 224, 192)
"""The colour of the border of objects, and of what is difficult, in a mask that is stored as colours."""
_LABEL_MAP = "labelmap.txt"


def find_voc(root: Path) -> SegmentationSource | None:
    """Look for ``SegmentationClass`` with the lists of its images."""
    lists = _lists(root, "Segmentation")
    if not lists or not (root / "SegmentationClass").is_dir() or (root / _LABEL_MAP).is_file():
        return None
    return SegmentationSource("voc", root, "Pascal VOC: SegmentationClass, 21 classes", _read_voc, lists)


def find_cvat(root: Path) -> SegmentationSource | None:
    """Look for ``SegmentationClass`` with colours of its own in ``labelmap.txt``."""
    lists = _lists(root, "Segmentation")
    if not lists or not (root / "SegmentationClass").is_dir() or not (root / _LABEL_MAP).is_file():
        return None
    layout = f"segmentation masks of CVAT: SegmentationClass with {_LABEL_MAP}"
    return SegmentationSource("cvat_masks", root, layout, _read_cvat, lists)


def find_context(root: Path) -> SegmentationSource | None:
    """Look for ``SegmentationClassContext`` with the lists of its images."""
    lists = _lists(root, "SegmentationContext")
    if not (lists and (root / "SegmentationClassContext").is_dir()):
        return None
    return SegmentationSource("context", root, "Pascal Context: 59 classes", _read_context, lists)


def _lists(root: Path, name: str) -> list[Path]:
    return sorted((root / "ImageSets" / name).glob("*.txt"))


def _read_voc(source: SegmentationSource) -> Draft:
    classes = packaged("voc", ignored=(255, _VOID))
    return _read(source, "SegmentationClass", classes)


def _read_context(source: SegmentationSource) -> Draft:
    return _read(source, "SegmentationClassContext", packaged("context", ignored=(0,)))


def _read_cvat(source: SegmentationSource) -> Draft:
    return _read(source, "SegmentationClass", read_class_list(source.root / _LABEL_MAP))


def _read(source: SegmentationSource, folder: str, classes: ClassList) -> Draft:
    """List the images of ``ImageSets``; a list called trainval only serves where no other names splits."""
    splits = {path: split_of(path.stem) for path in source.found if path.stem != "trainval"}
    findings, pairs, seen = Findings(), [], {}
    images, masks = _by_stem(source.root / "JPEGImages"), _by_stem(source.root / folder)
    for path, split in (splits or dict.fromkeys(source.found)).items():
        stems = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
        findings.add("split-empty", path.name, count=int(not stems))
        masked = not masks.keys().isdisjoint(stems)
        for stem in dict.fromkeys(stems):
            if stem in seen and seen[stem] != split:
                raise DataError(f"{path}: {stem} is in {seen[stem]} too; keep each image in one split")
            if stem in seen:
                continue
            seen[stem] = split
            if stem not in images:
                findings.add("mask-without-image", f"{path.name}: {stem}")
            elif stem not in masks:
                findings.add("mask-missing" if masked else "image-without-mask", f"JPEGImages/{images[stem]}")
            else:
                pairs.append(DraftPair(f"JPEGImages/{images[stem]}", f"{folder}/{masks[stem]}", split))
    return Draft(pairs, classes, findings)


def _by_stem(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; the images lie there")
    return {file.stem: file.name for file in sorted(folder.iterdir()) if is_image(file.name)}
