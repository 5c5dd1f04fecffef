"""COCO's polygons and run lengths as label images: each object in its class, later ones over earlier ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densekit.datasets.detection import coco_files
from densekit.datasets.detection.draft import DetectionSource
from densekit.datasets.segmentation.classes import ClassList
from densekit.datasets.segmentation.draft import Draft, DraftPair, SegmentationSource
from densekit.datasets.segmentation.drawing import Canvas, drawn_classes
from densekit.datasets.segmentation.findings import Findings


def find(root: Path) -> SegmentationSource | None:
    """Look for COCO JSON files where detection looks for them.

    Raises:
        DataError: if two files are for the same split, or one that belongs to them cannot be read.
    """
    source = coco_files.find(root)
    return source and SegmentationSource("coco", root, f"{source.layout}, drawn as label images", read, source)


def read(source: SegmentationSource) -> Draft:
    """Read the files as detection does, and hand over what it finds wrong.

    Raises:
        DataError: if a file is not COCO JSON.
    """
    found: DetectionSource = source.found
    objects = found.reader(found)
    findings = Findings()
    for finding in objects.findings.listed():
        code = {"error": "annotation-unreadable", "warning": "annotation-doubtful"}.get(finding.severity)
        if code:
            findings.add(code, *finding.examples, count=finding.count, message=finding.message)
    a = objects.annotations
    classes, _ = drawn_classes(ClassList(tuple(objects.classes)))
    value = {label: classes.names.index(name) for label, name in enumerate(objects.classes)}
    rows = np.split(np.argsort(a.image_index, kind="stable"), np.cumsum(np.bincount(a.image_index, minlength=1))[:-1])
    rows += [np.array([], np.int64)] * (len(objects.images) - len(rows))
    lacking = [row for row in range(len(a.labels)) if not a.masks[row]]
    findings.rows("object-without-outline", lacking, lambda row: f"annotation {a.origin[row]}")
    pairs = []
    for image, here in zip(objects.images, rows, strict=True):
        drawn = [(value[int(a.labels[row])], a.masks[row]) for row in here if a.masks[row]]
        pairs.append(DraftPair(image.file, image.source, image.split, drawn))
    return Draft(pairs, classes, findings, _draw, background=0)


def _draw(pair: DraftPair, width: int, height: int) -> tuple[np.ndarray, bool]:
    canvas = Canvas(width, height)
    for value, outline in pair.drawn:
        canvas.outline(value, outline)
    return canvas.values, canvas.overlaps
