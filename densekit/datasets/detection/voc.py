"""Pascal VOC XML: the devkit's folders with their lists of images, or XML files beside the images."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from densekit.datasets.detection.draft import DetectionSource, Draft, DraftImage, Part, objects_of
from densekit.datasets.detection.findings import Findings
from densekit.datasets.shared.image_files import ImageIndex, composed, is_image, subfolders
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import few
from densekit.io.files import read_text
from densekit.structures.detections import Detections

_DATABASE = re.compile(r"VOC\s*20\d\d", re.IGNORECASE)
_LOOKED_AT = 20
_LISTS = ("train", "val", "valid", "validation", "test", "trainval")


def find(root: Path) -> DetectionSource | None:
    """Look for ``Annotations`` with ``ImageSets/Main`` (also below ``VOCdevkit/VOC2007``), or for XML beside images."""
    kits = [root, *subfolders(root)]
    kits += [inner for folder in kits[1:] if folder.name.lower() == "vocdevkit" for inner in subfolders(folder)]
    parts = [part for kit in kits for part in _devkit(kit)] or list(_flat(root))
    if not parts:
        return None
    words = few(f"{(p.ids or p.path).relative_to(root).as_posix()} ({p.split or 'all images'})" for p in parts)
    return DetectionSource("voc", root, f"Pascal VOC: {words}", tuple(parts), read)


def _devkit(kit: Path) -> Iterator[Part]:
    xml = kit / "Annotations"
    if not _holds_voc(xml):
        return
    images = tuple(kit / name for name in ("JPEGImages", "images", "Images"))
    lists = {stem: kit / "ImageSets" / "Main" / f"{stem}.txt" for stem in _LISTS}
    lists = {stem: file for stem, file in lists.items() if os.path.lexists(file)}
    if "train" in lists:
        lists.pop("trainval", None)
    for stem, file in lists.items():
        yield Part(split_of(stem), xml, images, file)
    if not lists:
        yield Part(split_of(kit.name), xml, images)


def _flat(root: Path) -> Iterator[Part]:
    by_split = [f for f in subfolders(root) if split_of(f.name) and _holds_voc(f)]
    for folder in by_split:
        yield Part(split_of(folder.name), folder, (folder,))
    for folder in (root, root / "annotations", root / "labels") if not by_split else ():
        if _holds_voc(folder):
            yield Part(None, folder, (folder, root / "images", root / "JPEGImages", root))
            return


def _holds_voc(folder: Path) -> bool:
    """Whether one of the first files is Pascal VOC's, or all that are there cannot be read: then reading says which."""
    first = sorted(folder.glob("*.xml"))[:_LOOKED_AT] if folder.is_dir() else []
    tags = [_tag(file) for file in first]
    return "annotation" in tags or (bool(tags) and not any(tags))


def _tag(file: Path) -> str:
    """Return the tag of the outermost element, "" of a file that is no XML or is a web page."""
    try:
        tag = ElementTree.parse(file).getroot().tag
    except (OSError, ElementTree.ParseError):
        return ""
    return "" if tag.rpartition("}")[2].lower() == "html" else tag


def read(source: DetectionSource) -> Draft:
    """Read the XML files; class names are those of the objects, in alphabetical order.

    Coordinates: Pascal VOC's own years number pixels from 1 and include the last one, so that a box is
    ``[xmin - 1, ymin - 1]`` to ``[xmax, ymax]``; they are known by their ``<database>`` or folder. What other tools
    write (LabelImg, CVAT, Roboflow) are corners, taken as they are.

    Raises:
        DataError: if a list of images cannot be read.
    """
    findings = Findings()
    reader = _Reader(source, findings)
    for part in source.parts:
        reader.read_part(part)
    names = sorted({name for _, name, _, _, _, _ in reader.rows})
    label = {name: number for number, name in enumerate(names)}
    rows = [(image, label[name], box, None, number) for image, name, box, _, number, _ in reader.rows]
    annotations = objects_of(rows, [difficult for _, _, _, difficult, _, _ in reader.rows])
    _shift_official(annotations, [official for *_, official in reader.rows], findings)
    return Draft(reader.images, names, annotations, findings, "object")


def _shift_official(a: Detections, official: Sequence[bool], findings: Findings) -> None:
    rows = [row for row, is_official in enumerate(official) if is_official]
    # A zero shows that somebody wrote corners under VOC's name.
    if rows and a.xyxy[rows].min() >= 1:
        forward = a.xywh[rows, 2:] >= 0  # of exchanged corners the second is the lower one
        a.xywh[rows, :2] -= forward
        a.xywh[rows, 2:] += np.where(forward, 1, -1)
        message = "coordinates are Pascal VOC's own: pixels numbered from 1, the last one included"
    else:
        message = (
            "coordinates are taken as corners (xmax - xmin is the width), as LabelImg, CVAT and Roboflow write them"
        )
    findings.add("layout", count=1, message=message)


class _Reader:
    def __init__(self, source: DetectionSource, findings: Findings) -> None:
        self.source = source
        self.findings = findings
        self.index = ImageIndex(source.root)
        self.images: list[DraftImage] = []
        # image, class name, [x, y, width, height], difficult, number of the object, in Pascal VOC's own convention
        self.rows: list[tuple[int, str, tuple[float, float, float, float], bool, int, bool]] = []
        self.in_folder: dict[Path, dict[str, Path]] = {}

    def read_part(self, part: Part) -> None:
        files = self.in_folder.setdefault(part.path, {f.stem: f for f in sorted(part.path.glob("*.xml"))})
        stems = list(files) if part.ids is None else _read_list(part.ids, files)
        files = {composed(stem): file for stem, file in files.items()} | files
        folders = [self.source.relative(f) for f in part.images]
        folders = ["" if f == "." else f for f in folders]
        for stem in stems:
            if (file := files.get(stem) or files.get(composed(stem))) is not None:
                self._read_file(file, file.stem, part.split, folders)
            elif part.split == "test":
                message = f"images of {part.ids.name} without an annotation file, left out"
                self.findings.add("layout", stem, message=message)
            else:
                self.findings.add("annotation-missing", f"{self.source.relative(part.ids)}: {stem}.xml")
        if part is self.source.parts[-1]:
            self._count_unmentioned()

    def _count_unmentioned(self) -> None:
        known = {image.file for image in self.images}
        folders = {image.file.rpartition("/")[0] for image in self.images if image.found}
        left = sorted(f for f in self.index.files if f not in known and f.rpartition("/")[0] in folders)
        self.findings.rows("image-without-annotation", range(len(left)), lambda n: left[n])

    def _read_file(self, file: Path, stem: str, split: str | None, folders: Sequence[str]) -> None:
        where = self.source.relative(file)
        try:
            root = ElementTree.parse(file).getroot()
            problem = "" if root.tag == "annotation" else f"its outermost element is {root.tag[:60]}, not annotation"
        except (OSError, ElementTree.ParseError) as error:
            empty = file.is_file() and file.stat().st_size == 0
            problem = "is empty" if empty else getattr(error, "strerror", None) or str(error)
        if problem:
            self.findings.add("file-unreadable", f"{where}: {problem}")
            return
        name = (root.findtext("filename") or stem).strip().replace("\\", "/").rpartition("/")[2]
        width, height = (_number(root.findtext(f"size/{side}")) for side in ("width", "height"))
        sides = (round(width), round(height)) if width and height else (0, 0)
        found = self._find_image(file, stem, name, folders, sides)
        if len(found) > 1:
            self.findings.add("image-ambiguous", f"{where}: is of {' or '.join(found)}")
            return
        image = found[0] if found else f"{folders[0]}/{name}".lstrip("/")
        self.images.append(DraftImage(image, split, *sides, source=where, found=bool(found)))
        official = _DATABASE.search(f"{root.findtext('source/database')} {file.parent.parent.name}") is not None
        for number, item in enumerate(root.iter("object"), start=1):
            self._read_object(item, where, number, official)

    def _find_image(self, file: Path, stem: str, name: str, folders: Sequence[str], size: tuple[int, int]) -> list[str]:
        """Return the image of an XML file; several, if neither folder nor the name in it nor the size tell which."""
        found = self.index.by_stem(stem, folders) or self.index.by_stem(name.rpartition(".")[0] or name, folders)
        for agrees in (
            lambda image: self.source.root / image == file.parent / image.rpartition("/")[2],
            lambda image: composed(image.rpartition("/")[2]) == composed(name),
        ):
            found = [image for image in found if agrees(image)] or found
        return self.index.narrow(found, size)

    def _read_object(self, item: ElementTree.Element, where: str, number: int, official: bool) -> None:
        text = item.findtext("name") or ""
        corners = [_number(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
        if not text.strip() or None in corners:
            lacking = "no name" if not text.strip() else "no bndbox of four numbers"
            self.findings.add("row-malformed", f"{where}, object {number}: {lacking}")
            return
        if text != text.strip():
            self.findings.add("name-spaces", f"{where}, object {number}: {text!r}")
        x1, y1, x2, y2 = corners
        difficult = (item.findtext("difficult") or "").strip() == "1"
        box = (x1, y1, x2 - x1, y2 - y1)  # exchanged corners: a negative size
        self.rows.append((len(self.images) - 1, text.strip(), box, difficult, number, official))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _read_list(path: Path, known: Collection[str]) -> list[str]:
    """Read a list of image names; the second column that lists of one class have (-1, 0, 1) is left aside.

    Args:
        path: The list.
        known: Names that have an XML file: a line that is one of them is taken as it stands.
    """
    known = {*known, *map(composed, known)}
    names = []
    for line in filter(None, map(str.strip, read_text(path).split("\n"))):
        name, _, column = line.rpartition(" ") if "\t" not in line else line.rpartition("\t")
        ways = [line, *([name.strip()] if column in ("-1", "0", "1") and name.strip() else [])]
        ways += [way.rpartition(".")[0] for way in ways if is_image(way)]
        ways += [way.replace("\\", "/").rpartition("/")[2] for way in ways]
        names.append(next((way for way in ways if way in known or composed(way) in known), ways[-1]))
    return names
