"""Truth and detections from wherever they are: objects, COCO's dictionaries, or files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from densekit.datasets.detection.columns import open_coco
from densekit.errors import DataError, few
from densekit.io.atomic import atomic_path
from densekit.io.files import load_json
from densekit.structures.coco import by_image_id, from_coco, from_coco_results, to_coco_results
from densekit.structures.detections import Detections

TruthSource = Detections | Mapping | str | os.PathLike
DetectionSource = Detections | Sequence[Mapping] | str | os.PathLike


def read_truth(source: TruthSource, *, masks: bool | None = None) -> Detections:
    """Return annotated objects, images in the order of their ids.

    Args:
        source: COCO JSON file, its content, or what was read before.
        masks: Whether the outlines are needed; False: they are not kept; None: kept as they are.

    Raises:
        DataError: if the file cannot be read or is not sound, or if an object has no outline and they are needed.
    """
    if isinstance(source, Detections):
        truth = source
    elif isinstance(source, Mapping):
        truth = from_coco(source, masks=masks is not False)
    else:
        truth = open_coco(Path(source), masks=masks is not False)
    if masks:
        _require_outlines(truth)
    return by_image_id(truth)


def _require_outlines(truth: Detections) -> None:
    if truth.masks is None:
        raise DataError(f"{truth.where}: was read without outlines; read it again with masks=True")
    lacking = (~truth.outlined).nonzero()[0]
    if len(lacking):
        ids = [truth.origin[row] for row in lacking[:4]]
        raise DataError(
            f"{truth.where}: {len(lacking)} of {len(truth)} annotations have no segmentation (id {few(ids, 3)}); "
            f"masks can be scored only where every object has one: score boxes, or complete the file"
        )


def read_detections(source: DetectionSource, truth: Detections, *, masks: bool | None = None) -> Detections:
    """Return what was found in the images of ``truth``, in their order.

    Args:
        source: COCO result JSON, its rows (``image_id, category_id, bbox, score`` and for masks ``segmentation``), or
            what was read before.
        truth: What they will be compared with, as :func:`read_truth` returns it.
        masks: Whether the masks are needed; None: kept if every detection has one.

    Raises:
        DataError: if a row is for an image or class that the truth does not have, or lacks something.
    """
    if isinstance(source, Detections):
        if masks and source.masks is None:
            raise DataError("the detections have no masks; score boxes, or predict with a model that gives masks")
        if source.images is not truth.images and list(source.images.ids) != list(truth.images.ids):
            raise DataError(f"the detections are in other images than {truth.where} has; read them with its images")
        return source
    where = "detections"
    if isinstance(source, (str, os.PathLike)):
        where, source = str(source), load_json(Path(source))
    return from_coco_results(source, truth, where, masks=masks)


def write_detections(path: str | os.PathLike, found: Detections) -> None:
    """Write detections as COCO result JSON, one row a line, by rename.

    Raises:
        OutputError: if the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        for place, row in enumerate(to_coco_results(found)):
            file.write(",\n" * (place > 0) + json.dumps(row))
        file.write("]\n")
