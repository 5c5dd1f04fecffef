"""Supervisely: ``meta.json`` with the classes, and ``<data set>/img`` + ``<data set>/ann/<image>.json``."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from densekit.datasets.segmentation.classes import read_class_list
from densekit.datasets.segmentation.draft import Draft, DraftPair, SegmentationSource
from densekit.datasets.segmentation.drawing import Canvas, drawn_classes, value_of
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.shared.image_files import is_image, list_tree
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import DataError
from densekit.io.files import load_json

_META = "meta.json"
_AREAS = ("polygon", "bitmap", "rectangle")


def find(root: Path) -> SegmentationSource | None:
    """Look for the classes of a project, and folders ``ann``."""
    if not (root / _META).is_file() or not next(root.glob("**/ann"), None):
        return None
    return SegmentationSource("supervisely", root, "a project of Supervisely: meta.json, img and ann", read)


def read(source: SegmentationSource) -> Draft:
    """Read all annotations; splits are those of the folders' names, else of the tags train and val.

    Raises:
        DataError: if the classes cannot be read.
    """
    findings, pairs = Findings(), []
    classes, values = drawn_classes(read_class_list(source.root / _META))
    names = set(list_tree(source.root))
    images = {name for name in names if is_image(name) and "/img/" in f"/{name}"}
    for image in sorted(images):
        folder, _, name = image.rpartition("/")
        above = folder.removesuffix("img")
        file = next(
            (f for f in (f"{above}ann/{name}.json", f"{above}ann/{name.rpartition('.')[0]}.json") if f in names), ""
        )
        if not file:
            findings.add("image-unannotated", image)
            continue
        try:
            content = load_json(source.root / file)
            objects, tags = content["objects"], [str(tag.get("name", "")) for tag in content.get("tags", ())]
            drawn = [item for item in objects if item.get("geometryType", "polygon") in _AREAS]
        except (DataError, KeyError, TypeError, AttributeError) as error:
            findings.add("annotation-unreadable", f"{file}: {str(error).removeprefix(f'{source.root / file}, ')}")
            continue
        left = [item for item in objects if item not in drawn]
        findings.add("object-without-outline", *(f"{file}: a {item['geometryType']}" for item in left))
        split = split_of(above) or next((split_of(tag) for tag in tags if split_of(tag)), None)
        pairs.append(DraftPair(image, file, split, drawn))

    def draw(pair: DraftPair, width: int, height: int) -> tuple[np.ndarray, bool]:
        canvas = Canvas(width, height)
        for item in pair.drawn:
            try:
                _paint(canvas, value_of(str(item["classTitle"]), values, pair), item)
            except (KeyError, TypeError, ValueError, zlib.error, binascii.Error, cv2.error) as error:
                kind = item.get("geometryType", "polygon")
                raise DataError(f"{pair.mask}: a {kind} cannot be read ({error}); export it again") from error
        return canvas.values, canvas.overlaps

    return Draft(pairs, classes, findings, draw, background=0)


def _paint(canvas: Canvas, value: int, item: Mapping[str, Any]) -> None:
    """Draw an object as Supervisely does: points are pixels, and belong to it.

    Raises:
        KeyError, TypeError, ValueError, zlib.error, binascii.Error, cv2.error: if it cannot be read.
    """
    kind = item.get("geometryType", "polygon")
    if kind == "bitmap":
        data, (left, top) = item["bitmap"]["data"], item["bitmap"]["origin"]
        png = np.frombuffer(zlib.decompress(base64.b64decode(data)), np.uint8)
        image = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
        if image is None:
            raise ValueError("its data are no PNG")
        canvas.paint(value, (image[..., -1] if image.ndim == 3 else image) > 0, int(left), int(top))
        return
    outer = np.array(item["points"]["exterior"], np.float64).reshape(-1, 2)
    if kind == "rectangle":
        (x1, y1), (x2, y2) = outer
        outer = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    inner = [np.array(ring, np.float64).reshape(-1, 2) for ring in item["points"].get("interior", ())]
    canvas.rings(value, [outer, *inner])
