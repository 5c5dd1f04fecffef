"""CVAT for images 1.1: an XML file of polygons, masks, boxes and ellipses, in the order in which they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from densekit.datasets.segmentation.classes import class_list
from densekit.datasets.segmentation.draft import Draft, DraftPair, SegmentationSource
from densekit.datasets.segmentation.drawing import Canvas, drawn_classes, value_of
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.shared.image_files import ImageIndex, subfolders
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import DataError, few

_CORNERS = 64
_MOST_FILES = 20
_AREAS = ("polygon", "mask", "box", "ellipse")
_OTHERS = ("polyline", "points", "cuboid", "skeleton")


def find(root: Path) -> SegmentationSource | None:
    """Look for XML files of CVAT in ``root`` and in its folders."""
    listed = [sorted(folder.glob("*.xml")) for folder in (root, *subfolders(root))]
    # a folder of many has a file an image, which is VOC's form
    files = [file for files in listed if len(files) <= _MOST_FILES for file in files if _is_cvat(file)]
    if not files:
        return None
    names = few(file.relative_to(root).as_posix() for file in files)
    return SegmentationSource("cvat", root, f"CVAT for images: {names}", read, files)


def _is_cvat(path: Path) -> bool:
    try:
        for _, element in ElementTree.iterparse(path, events=("start",)):
            return element.tag == "annotations"
    except (OSError, ElementTree.ParseError):
        return False
    return False


def read(source: SegmentationSource) -> Draft:
    """Read all files.

    Raises:
        DataError: if one cannot be read, or names no class.
    """
    findings, pairs, colours = Findings(), [], {}
    index = ImageIndex(source.root)
    for path in source.found:
        file = path.relative_to(source.root).as_posix()
        try:
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError) as error:
            raise DataError(f"{path}: cannot be read ({error}); export it again") from error
        for label in root.iter("label"):
            if label.findtext("name"):
                colours.setdefault(label.findtext("name"), label.findtext("color") or "")
        images = root.findall("image")
        names = [image.get("name", "") for image in images]
        beside = file.rpartition("/")[0]
        for image, name, found in zip(images, names, index.locate(names, beside=beside, split=None), strict=True):
            if len(found) != 1:
                code = "stem-twice" if found else "mask-without-image"
                findings.add(code, f"{file}: {name}{' is ' + ' or '.join(found) if found else ''}")
                continue
            left = [shape.tag for shape in image if shape.tag in _OTHERS]
            findings.add("object-without-outline", *(f"{file}: a {tag} in {name}" for tag in left))
            shapes = sorted((s for s in image if s.tag in _AREAS), key=lambda s: int(s.get("z_order") or 0))
            split = split_of(image.get("subset") or "") or split_of(name.rpartition("/")[0]) or split_of(beside)
            pairs.append(DraftPair(found[0], file, split, shapes))
    findings.add("image-unannotated", *sorted(index.files - {pair.image for pair in pairs}))
    if not colours:
        raise DataError(f"{source.found[0]}: names no class (meta, labels); export it again with its labels")
    listed = class_list(
        {name: colour or name for name, colour in colours.items()} if all(colours.values()) else [*colours]
    )
    classes, values = drawn_classes(listed)

    def draw(pair: DraftPair, width: int, height: int) -> tuple[np.ndarray, bool]:
        canvas = Canvas(width, height)
        for shape in pair.drawn:
            value = value_of(shape.get("label", ""), values, pair)
            try:
                _paint(canvas, value, shape)
            except (TypeError, ValueError) as error:
                raise DataError(f"a {shape.tag} in {pair.image} cannot be read ({error})") from error
        return canvas.values, canvas.overlaps

    return Draft(pairs, classes, findings, draw, background=0)


def _numbers(shape: ElementTree.Element, *keys: str) -> Iterator[float]:
    return (float(shape.get(key, "")) for key in keys)


def _paint(canvas: Canvas, value: int, shape: ElementTree.Element) -> None:
    """Draw a shape.

    Raises:
        ValueError: if its numbers cannot be read.
    """
    if shape.tag == "mask":
        left, top, width, height = map(int, _numbers(shape, "left", "top", "width", "height"))
        runs = np.array([int(run) for run in shape.get("rle", "").split(",")], np.int64)
        if runs.sum() != width * height or (runs < 0).any():
            raise ValueError(f"run lengths of {runs.sum()} pixels for {width} x {height}")
        canvas.paint(value, np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width), left, top)
        return
    if shape.tag == "polygon":
        points = np.array([pair.split(",") for pair in shape.get("points", "").split(";")], np.float64)
    elif shape.tag == "box":
        x1, y1, x2, y2 = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
        points = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    else:
        cx, cy, rx, ry = _numbers(shape, "cx", "cy", "rx", "ry")
        turn = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
        points = np.stack([cx + rx * np.cos(turn), cy + ry * np.sin(turn)], axis=1)
    canvas.outline(value, [points.ravel().tolist()])
