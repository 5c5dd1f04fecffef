"""LabelMe: a JSON file beside each image, with polygons, rectangles, circles and masks."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from densekit.datasets.segmentation.classes import IGNORED_NAMES, ClassList
from densekit.datasets.segmentation.draft import Draft, DraftPair, SegmentationSource
from densekit.datasets.segmentation.drawing import Canvas, drawn_classes, value_of
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.shared.image_files import is_image, list_tree
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import DataError
from densekit.io.files import load_json, read_text

_LABELS = "labels.txt"
_HEAD = 4096
_AREAS = ("polygon", "rectangle", "circle", "mask")
_CORNERS = 64


def find(root: Path) -> SegmentationSource | None:
    """Look for JSON files with shapes, in any folder."""
    files = sorted(name for name in list_tree(root) if name.endswith(".json"))
    shapes = [file for file in files if _is_labelme(root / file)]
    if not shapes:
        return None
    return SegmentationSource("labelme", root, f"LabelMe: {len(shapes)} JSON files with shapes", read, shapes)


def _is_labelme(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return b'"shapes"' in head and (b'"imagePath"' in head or b'"flags"' in head or b'"version"' in head)


def read(source: SegmentationSource) -> Draft:
    """Read all files. Classes are those of ``labels.txt`` if there is one, else those that are used, sorted.

    Raises:
        DataError: if the class list cannot be read.
    """
    findings, pairs, used = Findings(), [], set()
    images = {name for name in list_tree(source.root) if is_image(name)}
    by_stem = {name.rpartition(".")[0]: name for name in sorted(images)}
    for file in source.found:
        try:
            content = load_json(source.root / file)
            shapes = [_checked(shape) for shape in content["shapes"]]
        except (DataError, KeyError, TypeError, ValueError) as error:
            findings.add("annotation-unreadable", f"{file}: {str(error).removeprefix(f'{source.root / file}, ')}")
            continue
        folder = file.rpartition("/")[0]
        name = str(content.get("imagePath", "")).replace("\\", "/")
        image = _resolved(folder, name) if _resolved(folder, name) in images else by_stem.get(file.rpartition(".")[0])
        if image is None:
            findings.add("mask-without-image", file)
            continue
        drawn = [shape for shape in shapes if shape["shape_type"] in _AREAS]
        left = [shape for shape in shapes if shape["shape_type"] not in _AREAS]
        findings.add("object-without-outline", *(f"{file}: a {shape['shape_type']}" for shape in left))
        used |= {shape["label"] for shape in drawn}
        pairs.append(DraftPair(image, file, split_of(image.rpartition("/")[0]), drawn))
    findings.add("image-unannotated", *sorted(images - {pair.image for pair in pairs}))
    classes, values = drawn_classes(_listed(source.root, used))

    def draw(pair: DraftPair, width: int, height: int) -> tuple[np.ndarray, bool]:
        canvas = Canvas(width, height)
        for shape in pair.drawn:
            _paint(canvas, value_of(shape["label"], values, pair), shape)
        return canvas.values, canvas.overlaps

    return Draft(pairs, classes, findings, draw, background=0)


def _listed(root: Path, used: set[str]) -> ClassList:
    path = root / _LABELS
    names = [line.strip() for line in read_text(path).splitlines()] if path.is_file() else sorted(used)
    kept = tuple(name for name in names if name and name.strip("_").lower() not in IGNORED_NAMES)
    return ClassList(kept, source=str(path) if path.is_file() else "shapes")


def _resolved(folder: str, name: str) -> str:
    parts: list[str] = []
    for part in f"{folder}/{name}".split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _checked(shape: Mapping[str, Any]) -> dict[str, Any]:
    """What is needed of a shape.

    Raises:
        KeyError, TypeError, ValueError: if it is not there.
    """
    kind = shape.get("shape_type") or "polygon"
    points = np.array(shape["points"], np.float64).reshape(-1, 2)
    needed = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}.get(kind, 0)
    if len(points) < needed or not np.isfinite(points).all():
        raise ValueError(f"a {kind} of {len(points)} points")
    return {"label": str(shape["label"]), "shape_type": kind, "points": points, "mask": shape.get("mask")}


def _paint(canvas: Canvas, value: int, shape: Mapping[str, Any]) -> None:
    points, kind = shape["points"], shape["shape_type"]
    if kind == "mask":
        left, top = np.floor(points.min(axis=0)).astype(int).tolist()
        canvas.paint(value, _decoded(shape["mask"]), left, top)
        return
    if kind == "rectangle":
        (x1, y1), (x2, y2) = points[:2]
        points = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    elif kind == "circle":
        turn = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
        points = points[0] + np.hypot(*(points[1] - points[0])) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    canvas.outline(value, [points.ravel().tolist()])


def _decoded(text: Any) -> np.ndarray:
    try:
        mask = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (TypeError, ValueError, binascii.Error, cv2.error):
        mask = None
    if mask is None:
        raise DataError("the mask of a shape is no PNG in base64; export it again")
    return mask > 0
