"""COCO's JSON in and out: annotations with their images and classes, and results, the form that detections are in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from densekit.errors import DataError, few
from densekit.ops import run_lengths
from densekit.structures.detections import Detections, Images
from densekit.structures.outlines import extent
from densekit.structures.packed import take

_REMEDY = "correct the file, or let `densekit check` write a clean one"


def from_coco(data: Any, where: str = "annotations", *, masks: bool = True) -> Detections:
    """Read COCO annotations; objects are image by image, images in the order of the file, classes in that of their ids.

    ``iscrowd`` may be missing (0), and so may ``area`` (that of the outline, or of the box).

    Args:
        data: Content of the file.
        where: What messages call it.
        masks: Whether to keep the outlines.

    Raises:
        DataError: if it is not sound.
    """
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, Mapping) or not isinstance(data.get(key), (list, tuple)):
            raise DataError(f"{where}: has no list {key!r}; expected COCO's images, annotations and categories")
        if not all(isinstance(row, Mapping) and "id" in row for row in data[key]):
            raise DataError(f"{where}: an entry of {key!r} is no object with an id; {_REMEDY}")
    images, rows = data["images"], data["annotations"]
    _by_id(images, "image", where)
    categories = _by_id(data["categories"], "category", where)
    names = tuple(str(category.get("name")) for category in categories)
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{where}: {count} categories are called {name!r}; merge them or rename one")
    xywh = _boxes(rows, "annotation", where)
    sizes = [[image.get("width") or 0, image.get("height") or 0] for image in images]
    found = Detections(
        image_index=_known(rows, "image_id", images, where),
        labels=_known(rows, "category_id", categories, where),
        xywh=xywh,
        crowd=[bool(row.get("iscrowd", 0)) for row in rows],
        ignore=[bool(row.get("ignore", 0)) for row in rows],
        areas=_areas(rows, xywh, where),
        masks=[row.get("segmentation") or None for row in rows] if masks else None,
        origin=[row["id"] for row in rows],
        images=Images(
            tuple(image["id"] for image in images),
            tuple(str(image.get("file_name") or image["id"]) for image in images),
            np.array(sizes, dtype=np.int64).reshape(-1, 2),
        ),
        names=names,
        category_ids=tuple(category["id"] for category in categories),
        where=where,
    )
    return found.by_image()


def by_image_id(found: Detections) -> Detections:
    """Return the same with the images in the order of their ids, as pycocotools has them: it decides between ties."""
    ids = found.images.ids
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    if (np.diff(order) == 1).all():
        return found
    return replace(found, images=found.images.take(order), image_index=np.argsort(order)[found.image_index]).by_image()


def from_coco_results(
    rows: Sequence[Mapping], truth: Detections, where: str = "detections", *, masks: bool | None = None
) -> Detections:
    """Read detections in COCO's result format.

    Args:
        rows: ``image_id, category_id, bbox, score`` and for masks ``segmentation``.
        truth: What they will be compared with: its images and classes.
        where: What messages call them.
        masks: Whether the masks are needed; None: kept if every detection has one.

    Raises:
        DataError: if a row is for an image or class that the truth does not have, or lacks something.
    """
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"{where}: expected a list of detections in COCO's result format")
    if masks is None:
        masks = bool(rows) and all(row.get("segmentation") for row in rows)
    image, unknown = _places(truth.images.ids, [row.get("image_id") for row in rows])
    if unknown:
        raise DataError(
            f"{where}: {len(unknown):,} detections are for images that {truth.where} does not have (id "
            f"{few(sorted(set(map(str, unknown))), 3)}); score them against the annotations of their own images"
        )
    labels, unknown = _places(truth.category_ids, [row.get("category_id") for row in rows])
    if unknown:
        raise DataError(
            f"{where}: {len(unknown):,} detections have the category_id {few(sorted(set(map(str, unknown))), 3)}, "
            f"which {truth.where} does not have; it has {few(truth.category_ids)}"
        )
    scores = _scores(rows, where)
    found = _masks(rows, where) if masks else None
    if found is not None and any("bbox" not in row for row in rows):
        from hotcoco import mask as library

        xywh = np.asarray(library.to_bbox(found), dtype=np.float64)
    else:
        xywh = _boxes(rows, "detection", where)
    return Detections(
        image,
        labels,
        xywh,
        scores,
        masks=found,
        images=truth.images,
        names=truth.names,
        category_ids=truth.category_ids,
        where=where,
    ).by_image()


def to_coco(found: Detections, description: str = "") -> dict[str, Any]:
    """Return annotations as COCO's dictionary: images without objects are in it, objects in their order here.

    What is to be ignored has ``iscrowd`` 1: MMDetection takes it for a region to ignore, and COCO's AP leaves hits on
    it out.
    """
    ids, sizes = found.images.ids, found.images.sizes.tolist()
    origin = found.origin.tolist() if isinstance(found.origin, np.ndarray) else found.origin
    return {
        "info": {"description": description},
        "images": [
            {"id": number, "file_name": file, "width": width, "height": height}
            for number, file, (width, height) in zip(ids, found.images.files, sizes, strict=True)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": ids[image],
                "category_id": found.category_ids[label],
                "bbox": box,
                "area": area,
                "iscrowd": int(ignored),
                **({} if mask is None else {"segmentation": mask}),
            }
            for number, image, label, box, area, ignored, mask in zip(
                origin,
                found.image_index.tolist(),
                found.labels.tolist(),
                found.xywh.tolist(),
                found.areas.tolist(),
                (found.crowd | found.ignore).tolist(),
                found.masks if found.masks is not None else [None] * len(found),
                strict=True,
            )
        ],
        "categories": [
            {"id": number, "name": name} for number, name in zip(found.category_ids, found.names, strict=True)
        ],
    }


def to_coco_results(found: Detections) -> Iterator[dict[str, Any]]:
    """Return detections as rows of COCO's result format. Read back, they give the same scores."""
    for row in range(len(found)):
        result = {
            "image_id": found.images.ids[found.image_index[row]],
            "category_id": found.category_ids[found.labels[row]],
            "bbox": found.xywh[row].tolist(),
            "score": float(found.scores[row]),
        }
        yield result if found.masks is None else {**result, "segmentation": found.masks[row]}


# --- columns of the rows of a file ------------------------------------------------------------------------------------
def _by_id(rows: Sequence[Mapping], what: str, where: str) -> list[Mapping]:
    try:
        found = sorted(rows, key=lambda row: row["id"])
    except TypeError as error:
        raise DataError(f"{where}: the ids of its {what} entries are of several kinds; {_REMEDY}") from error
    for one, other in pairwise(found):
        if one["id"] == other["id"]:
            raise DataError(f"{where}: two {what} entries have the id {one['id']!r}; {_REMEDY}")
    return found


def _places(ids: Sequence, wanted: Sequence) -> tuple[np.ndarray, list]:
    """Return the place of each wanted id among ``ids``, -1 for those that are not there, and these by themselves."""
    table = {key: place for place, key in enumerate(ids)}
    found = np.array([table.get(key, -1) for key in wanted], dtype=np.int64)
    return found, take(wanted, np.flatnonzero(found < 0))


def _known(rows: Sequence[Mapping], key: str, entries: Sequence[Mapping], where: str) -> np.ndarray:
    """Return the place among ``entries`` that each row names by its id."""
    found, unknown = _places([entry["id"] for entry in entries], [row.get(key) for row in rows])
    if unknown:
        raise DataError(
            f"{where}: {len(unknown)} annotations have the {key} {few(sorted(set(map(str, unknown))), 3)}, which "
            f"is not among its {'images' if key == 'image_id' else 'categories'}; {_REMEDY}"
        )
    return found


def _boxes(rows: Sequence[Mapping], what: str, where: str) -> np.ndarray:
    """Return ``bbox`` of all rows ``(N, 4)``.

    Raises:
        DataError: if one is not four finite numbers.
    """
    values = [row.get("bbox") for row in rows]
    try:
        found = np.array(values, dtype=np.float64).reshape(len(values), 4)
        bad = ~np.isfinite(found).all(axis=1)
    except (TypeError, ValueError):
        found, bad = None, np.array([_not_a_box(value) for value in values])
    if bad.any():
        row = rows[int(np.flatnonzero(bad)[0])]
        which = f"{what} {row['id']}" if "id" in row else f"a {what} in image {row.get('image_id')}"
        raise DataError(
            f"{where}: {which} has the bbox {str(row.get('bbox'))[:60]}, expected x, y, width and height "
            f"({int(bad.sum())} like this); {_REMEDY}"
        )
    return found


def _not_a_box(value: Any) -> bool:
    try:
        return not np.isfinite(np.array(value, dtype=np.float64).reshape(4)).all()
    except (TypeError, ValueError):
        return True


def _areas(rows: Sequence[Mapping], box: np.ndarray, where: str) -> np.ndarray:
    area = np.array([_number(row.get("area")) for row in rows], dtype=np.float64)
    for row in np.flatnonzero(np.isnan(area)):
        found = None
        if rows[row].get("segmentation"):
            try:
                found = extent(rows[row]["segmentation"])
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DataError(
                    f"{where}: annotation {rows[row]['id']} has a segmentation that cannot be read "
                    f"({' '.join(str(error).split())}); {_REMEDY}"
                ) from error
        area[row] = box[row, 2] * box[row, 3] if found is None else found[1]
    return area


def _scores(rows: Sequence[Mapping], where: str) -> np.ndarray:
    try:
        scores = np.array([row.get("score") for row in rows], dtype=np.float64)
    except (TypeError, ValueError):
        scores = np.array([_number(row.get("score")) for row in rows], dtype=np.float64)
    if not np.isfinite(scores).all():
        row = rows[int(np.flatnonzero(~np.isfinite(scores))[0])]
        raise DataError(
            f"{where}: a detection in image {row['image_id']} has the score {row.get('score')!r}, expected a "
            f"number; look for NaN in the model's outputs"
        )
    return scores


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else np.nan


def _masks(rows: Sequence[Mapping], where: str) -> list[dict]:
    found = []
    for row in rows:
        rle = row.get("segmentation")
        if not isinstance(rle, Mapping) or "counts" not in rle or "size" not in rle:
            raise DataError(
                f"{where}: a detection in image {row['image_id']} has no run lengths under 'segmentation'; "
                f"score boxes, or predict with a model that gives masks"
            )
        found.append(run_lengths.as_text(rle))
    return found
