"""What the readers of the layouts hand over: files, names and boxes as they were found, nothing repaired yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densekit.datasets.detection.findings import Findings
from densekit.datasets.shared.image_files import Header
from densekit.structures.detections import Detections
from densekit.structures.findings import Example


@dataclass(frozen=True)
class Part:
    """One piece of a source: an annotation file or folder and the split it is for.

    Attributes:
        split: ``"train"``, ``"val"``, ``"test"``, or None if nothing says so.
        path: COCO: the JSON. YOLO: the folder of images or the text file that lists them. VOC: the folder of XML
            files. Masks: the folder of cases.
        images: Folders to look for images in (VOC).
        ids: List of the image names of this split (VOC's ``ImageSets/Main/train.txt``), None for all.
    """

    split: str | None
    path: Path
    images: tuple[Path, ...] = ()
    ids: Path | None = None


@dataclass(slots=True)
class DraftImage:
    """An image as the annotations speak of it.

    Attributes:
        file: POSIX path relative to the source's root (or absolute, if it lies elsewhere).
        split: Split, None if nothing says so.
        width: As annotated, 0 if the annotations do not say.
        height: As annotated, 0 if the annotations do not say.
        id: The source's own id, None if it has none.
        source: The annotation file, for messages.
        found: Whether ``file`` is there and can be opened.
        header: What the file says, once it was looked at.
    """

    file: str
    split: str | None
    width: int = 0
    height: int = 0
    id: Any = None
    source: str = ""
    found: bool = True
    header: Header | None = None


@dataclass
class Draft:
    """A data set as a reader found it.

    Attributes:
        images: All images.
        classes: Class names by label.
        annotations: All objects, labels as in ``classes``.
        findings: What was noticed while reading.
        unit: What ``annotations.origin`` counts: ``"line"``, ``"object"``, ``"annotation"``, ``"mask"``.
        fractions: Boxes and polygons are fractions of the image's width and height (YOLO).
    """

    images: list[DraftImage]
    classes: list[str]
    annotations: Detections
    findings: Findings
    unit: str
    fractions: bool = False


@dataclass(frozen=True)
class DetectionSource:
    """Where a detection data set lies and how it is laid out, before anything but names was looked at.

    Attributes:
        format: ``"coco"``, ``"yolo"``, ``"voc"`` or ``"masks"``.
        root: Folder of the data set; images are named relative to it.
        layout: What was recognised, in a sentence.
        parts: Annotation files or folders with their splits.
        class_names: Names by number, if a file of their own says so (YOLO).
        names_from: Which file does.
        pose: YOLO rows carry key points after the box.
        notes: Guesses and things left aside, to be shown.
        reader: The function that reads it.
    """

    format: str
    root: Path
    layout: str
    parts: tuple[Part, ...]
    reader: Callable[[DetectionSource], Draft] = field(repr=False)
    class_names: Mapping[int, str] | None = None
    names_from: Path | None = None
    pose: bool = False
    notes: tuple[str, ...] = ()

    def relative(self, path: Path) -> str:
        """Return ``path`` as messages and JSON name it: relative to the root if it lies below it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()


def objects_of(
    rows: Sequence[tuple[int, int, Sequence[float], Any, Any]], ignore: Sequence[bool] | None = None
) -> Detections:
    """Build columns from rows ``(image, label, [x, y, width, height], outline, origin)`` without crowds."""
    image, labels, xywh, masks, origin = zip(*rows, strict=True) if rows else ((),) * 5
    return Detections(image, labels, xywh, ignore=ignore, masks=list(masks), origin=list(origin))


class Places:
    """Makes examples of annotations and images: where they stand, and what to show.

    Args:
        draft: The data.
        root: Folder of the data set.
    """

    def __init__(self, draft: Draft, root: Path) -> None:
        self.draft = draft
        self.root = root

    def image(self, index: int, words: str = "", boxes: tuple = ()) -> Example:
        """Return the place of an image."""
        image = self.draft.images[index]
        shown = str(self.root / image.file) if image.found else ""
        return Example(f"{image.file}{': ' if words else ''}{words}", shown, boxes)

    def annotation(self, a: Detections, row: int, words: str = "") -> Example:
        """Return the place of an annotation, with its box as it stands in ``a``."""
        image = self.draft.images[a.image_index[row]]
        name = image.file.rpartition("/")[2]
        where = f"{image.source or image.file}, {self.draft.unit} {a.origin[row]} ({name}): "
        where += a.words(row, self.draft.classes) + (f", {words}" if words else "")
        box = a.corners(row)
        drawn = (box,) if all(v == v for v in box) else ()  # nothing to draw where it is NaN
        return Example(where, str(self.root / image.file) if image.found else "", drawn)
