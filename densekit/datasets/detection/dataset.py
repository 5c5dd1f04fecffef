"""The one form that every layout of detection data is read into, and the COCO JSON that is written from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from densekit import __version__
from densekit.datasets.shared.finding import Finding
from densekit.datasets.shared.image_files import Header
from densekit.datasets.shared.image_splits import SPLITS
from densekit.errors import DataError
from densekit.io.atomic import write_json_atomic

DESCRIPTION = "dataset.json"


@dataclass(slots=True)
class DetectionImage:
    """One picture in one split.

    Attributes:
        id: Number in its split's COCO JSON: the source's own where all of a split are different integers, else from 1.
        file: POSIX path relative to :attr:`DetectionDataset.root`.
        split: ``"train"``, ``"val"`` or ``"test"``.
        width: Pixels of the picture as it is shown (after EXIF rotation).
        height: As ``width``.
    """

    id: int
    file: str
    split: str
    width: int
    height: int


@dataclass
class Annotations:
    """All objects of a data set, one row each in every column.

    Attributes:
        image: Index into the list of images, int64 ``(N,)``.
        label: Index into the class names, int64 ``(N,)``.
        bbox: ``[x, y, width, height]`` in pixels, float64 ``(N, 4)``. Coordinates are those of edges: (0, 0) is the
            outer corner of the first pixel, a box around that pixel alone is ``[0, 0, 1, 1]``, and one around the
            whole picture ``[0, 0, W, H]``.
        crowd: A region of many objects (COCO's ``iscrowd``), bool ``(N,)``.
        ignore: Too difficult to be counted (VOC's ``difficult``, ``ignore`` of some COCO files), bool ``(N,)``.
        area: Pixels of the outline, or of the box where there is none; float64 ``(N,)``, NaN if not yet known.
        segmentation: COCO polygons or run lengths, None for a box alone.
        origin: Where each came from, as the messages name it: line number, annotation id, file.
    """

    image: np.ndarray
    label: np.ndarray
    bbox: np.ndarray
    crowd: np.ndarray
    ignore: np.ndarray
    area: np.ndarray
    segmentation: list[Any]
    origin: list[Any]

    def __len__(self) -> int:
        return len(self.image)

    @property
    def xyxy(self) -> np.ndarray:
        """Corners ``[x1, y1, x2, y2]``, float64 ``(N, 4)``."""
        return np.concatenate([self.bbox[:, :2], self.bbox[:, :2] + self.bbox[:, 2:]], axis=1)

    def corners(self, row: int) -> tuple[float, float, float, float]:
        """Return ``(x1, y1, x2, y2)`` of one row as plain numbers."""
        x, y, w, h = (float(v) + 0.0 for v in self.bbox[row])  # + 0.0: never "-0"
        return (x, y, x + w, y + h)

    def words(self, row: int, classes: Sequence[str]) -> str:
        """Return what one row is, as messages say it: ``"cat at 5, 7, 20 x 30 px"``."""
        x, y, w, h = (float(v) + 0.0 for v in self.bbox[row])
        return f"{classes[self.label[row]]} at {x:.4g}, {y:.4g}, {w:.4g} x {h:.4g} px"

    def take(self, keep: np.ndarray) -> Annotations:
        """Return the rows where ``keep`` (bool ``(N,)``) holds, or those of an index array."""
        keep = np.asarray(keep)
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        columns = {}
        for column in fields(self):
            values = getattr(self, column.name)
            columns[column.name] = values[index] if isinstance(values, np.ndarray) else [values[i] for i in index]
        return Annotations(**columns)

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, Sequence[float], Any, Any]], ignore: Sequence[bool] = ()) -> Annotations:
        """Build from rows ``(image, label, [x, y, width, height], segmentation, origin)`` without crowds."""
        n = len(rows)
        return cls(
            image=np.array([row[0] for row in rows], dtype=np.int64),
            label=np.array([row[1] for row in rows], dtype=np.int64),
            bbox=np.array([row[2] for row in rows], dtype=np.float64).reshape(n, 4),
            crowd=np.zeros(n, dtype=bool),
            ignore=np.array(ignore or [False] * n, dtype=bool),
            area=np.full(n, np.nan),
            segmentation=[row[3] for row in rows],
            origin=[row[4] for row in rows],
        )


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
        images: All pictures of all splits.
        annotations: All objects.
        headers: What the image files say, one per image.
        findings: Errors, repairs and notes of reading; :mod:`densekit.datasets.detection.check` adds more.
        fingerprint: Hash of the source files and of what was asked for.
        watched: Folders whose files the fingerprint covers.
    """

    name: str
    format: str
    layout: str
    root: Path
    classes: tuple[str, ...]
    images: tuple[DetectionImage, ...]
    annotations: Annotations
    headers: tuple[Header | None, ...]
    findings: tuple[Finding, ...]
    fingerprint: str
    watched: tuple[Path, ...]

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits there are, in the order train, val, test."""
        there = {image.split for image in self.images}
        return tuple(split for split in SPLITS if split in there)

    @property
    def has_masks(self) -> bool:
        """Whether every object has an outline."""
        return len(self.annotations) > 0 and all(s is not None for s in self.annotations.segmentation)

    def path(self, image: int) -> Path:
        """Return the file of the image of that index."""
        return self.root / self.images[image].file

    def objects_per_image(self) -> np.ndarray:
        """Return the number of objects of each image, int64 ``(images,)``."""
        return np.bincount(self.annotations.image, minlength=len(self.images))

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

        Category ids are 1 to the number of classes, in the order of :attr:`classes`; annotation ids run from 1. What
        is to be ignored has ``iscrowd`` 1: MMDetection takes it for a region to ignore, and COCO's AP leaves hits on
        it out. Images without objects are in the list.

        Raises:
            DataError: if there is no such split.
        """
        if split not in self.splits:
            raise DataError(f"{self.root}: has no split {split!r}; it has {', '.join(self.splits) or 'none'}")
        return {
            "info": {"description": f"{self.name}, {split}; written by densekit {__version__} from {self.layout}"},
            "images": [
                {"id": image.id, "file_name": image.file, "width": image.width, "height": image.height}
                for image in self.images
                if image.split == split
            ],
            "annotations": list(self._coco_annotations(split)),
            "categories": [{"id": label + 1, "name": name} for label, name in enumerate(self.classes)],
        }

    def _coco_annotations(self, split: str) -> Iterator[dict[str, Any]]:
        a = self.annotations
        ignored = a.crowd | a.ignore
        member = np.array([image.split == split for image in self.images], dtype=bool)
        rows = np.flatnonzero(member[a.image]) if len(a) else []
        columns = (a.image[rows], a.label[rows], a.bbox[rows], a.area[rows], ignored[rows])
        values = zip(*(column.tolist() for column in columns), strict=True)
        for number, (row, (image, label, bbox, area, ignore)) in enumerate(zip(rows, values, strict=True), start=1):
            annotation = {
                "id": number,
                "image_id": self.images[image].id,
                "category_id": label + 1,
                "bbox": bbox,
                "area": area,
                "iscrowd": int(ignore),
            }
            if a.segmentation[row] is not None:
                annotation["segmentation"] = a.segmentation[row]
            yield annotation

    def write_coco(self, folder: Path) -> dict[str, Path]:
        """Write one COCO JSON per split, and ``dataset.json`` beside them; nothing if they are there already.

        They are there already if ``dataset.json`` (written last) has this data set's fingerprint.

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
            "splits": {split: self.counts(split) for split in self.splits},
        }


def read_description(folder: Path) -> dict[str, Any]:
    """Return the ``dataset.json`` that :meth:`DetectionDataset.write_coco` wrote, {} if there is none to use."""
    try:
        found = json.loads((Path(folder) / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
