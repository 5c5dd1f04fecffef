"""The one form that every layout of detection data is read into, and the COCO JSON that is written from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from densekit import __version__
from densekit.datasets.detection.columns import write_columns
from densekit.datasets.shared.image_files import Header
from densekit.datasets.shared.split_file import SPLIT_FILE, Splits
from densekit.datasets.shared.splits import SPLITS
from densekit.errors import DataError
from densekit.io.atomic import write_json_atomic
from densekit.io.depth import Ranges
from densekit.structures.coco import to_coco
from densekit.structures.detections import Detections, Images
from densekit.structures.findings import Finding

DESCRIPTION = "dataset.json"


@dataclass(slots=True)
class DetectionImage:
    """One image in one split.

    Attributes:
        id: Number in its split's COCO JSON: the source's own where all of a split are different integers, else from 1.
        file: POSIX path relative to :attr:`DetectionDataset.root`.
        split: ``"train"``, ``"val"`` or ``"test"``.
        width: Pixels of the image as it is shown (after EXIF rotation).
        height: As ``width``.
    """

    id: int
    file: str
    split: str
    width: int
    height: int


@dataclass(frozen=True)
class DetectionDataset:
    """A detection data set as it was understood, repaired, and with its classes keyed by name.

    Attributes:
        name: Name of the data set's folder.
        format: ``"coco"``, ``"yolo"``, ``"voc"`` or ``"masks"``.
        layout: What was read, in a sentence.
        root: Folder that the images' ``file`` is relative to.
        classes: Class names; the place in this tuple is the label. Order: as asked for; else COCO by category id of
            the training file, YOLO by number, VOC by alphabet.
        images: All images of all splits.
        annotations: All objects.
        headers: What the image files say, one per image.
        ranges: Of the images of more than 8 bits; see :mod:`densekit.io.depth`.
        findings: Errors, repairs and notes of reading; :mod:`densekit.datasets.detection.check` adds more.
        fingerprint: Hash of the source files and of what was asked for.
        watched: Folders whose files the fingerprint covers.
        folds: All folds, by ``file`` as the source has it, if the splits are those of one that was made.
    """

    name: str
    format: str
    layout: str
    root: Path
    classes: tuple[str, ...]
    images: tuple[DetectionImage, ...]
    annotations: Detections
    headers: tuple[Header | None, ...]
    ranges: Ranges
    findings: tuple[Finding, ...]
    fingerprint: str
    watched: tuple[Path, ...]
    folds: Splits | None = None

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits there are, in the order train, val, test."""
        there = {image.split for image in self.images}
        return tuple(split for split in SPLITS if split in there)

    @property
    def has_masks(self) -> bool:
        """Whether every object has an outline."""
        return self.annotations.has_masks

    def path(self, image: int) -> Path:
        """Return the file of the image of that index."""
        return self.root / self.images[image].file

    def objects_per_image(self) -> np.ndarray:
        """Return the number of objects of each image, int64 ``(images,)``."""
        return np.bincount(self.annotations.image_index, minlength=len(self.images))

    def counts(self, split: str) -> dict[str, int]:
        """Return how many images, background images and objects a split has."""
        member = np.array([image.split == split for image in self.images], dtype=bool)
        objects = self.objects_per_image()[member]
        return {
            "images": int(member.sum()),
            "background": int((objects == 0).sum()),
            "objects": int(objects.sum()),
        }

    def to_coco(self, split: str) -> dict[str, Any]:
        """Return a split as a COCO dictionary that MMDetection's ``CocoDataset`` and pycocotools read.

        Category ids are 1 to the number of classes, in the order of :attr:`classes`; annotation ids run from 1.

        Raises:
            DataError: if there is no such split.
        """
        words = f"{self.name}, {split}; written by densekit {__version__} from {self.layout}"
        return to_coco(self.columns(split), words)

    def columns(self, split: str) -> Detections:
        """Return the objects of a split with its images; what is to be ignored is among the crowds.

        Raises:
            DataError: if there is no such split.
        """
        if split not in self.splits:
            raise DataError(f"{self.root}: has no split {split!r}; it has {', '.join(self.splits) or 'none'}")
        member = np.array([image.split == split for image in self.images], dtype=bool)
        images = [self.images[place] for place in np.flatnonzero(member)]
        a = self.annotations.take(member[self.annotations.image_index])
        return replace(
            a,
            image_index=(np.cumsum(member) - 1)[a.image_index],
            crowd=a.crowd | a.ignore,
            ignore=None,
            origin=np.arange(1, len(a) + 1),
            images=Images(
                tuple(image.id for image in images),
                tuple(image.file for image in images),
                np.array([(image.width, image.height) for image in images], dtype=np.int64).reshape(-1, 2),
            ),
            names=self.classes,
            category_ids=tuple(range(1, len(self.classes) + 1)),
        )

    def write_coco(self, folder: Path) -> dict[str, Path]:
        """Write one COCO JSON per split with its columns, the folds, and ``dataset.json``; nothing if they are there.

        They are there if ``dataset.json`` (written last) has this data set's fingerprint.

        Returns:
            The file of each split.

        Raises:
            OutputError: if a file cannot be written.
        """
        folder = Path(folder)
        files = {split: folder / f"{split}.json" for split in self.splits}
        if read_description(folder).get("fingerprint") == self.fingerprint and all(f.is_file() for f in files.values()):
            return files
        for split, file in files.items():
            write_json_atomic(file, self.to_coco(split), indent=None)
            write_columns(file, self.columns(split))
        if self.folds is not None:
            self.folds.write(folder / SPLIT_FILE)
        write_json_atomic(folder / DESCRIPTION, self.describe())
        return files

    def describe(self) -> dict[str, Any]:
        """Return what ``dataset.json`` holds."""
        return {
            "fingerprint": self.fingerprint,
            "watched": [str(folder) for folder in self.watched],
            "name": self.name,
            "format": self.format,
            "layout": self.layout,
            "root": str(self.root),
            "classes": list(self.classes),
            "has_masks": self.has_masks,
            "ranges": {kind: list(span) for kind, span in self.ranges.items()},
            "splits": {split: self.counts(split) for split in self.splits},
        }


def read_description(folder: Path) -> dict[str, Any]:
    """Return the ``dataset.json`` that :meth:`DetectionDataset.write_coco` wrote, {} if there is none to use."""
    try:
        found = json.loads((Path(folder) / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
