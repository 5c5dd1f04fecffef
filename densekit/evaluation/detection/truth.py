"""The objects of a COCO annotation file as columns, ready to be compared with detections."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from densekit.datasets.detection.segmentation import extent
from densekit.errors import DataError, few
from densekit.io.files import load_json

_REMEDY = "correct the file, or let `densekit check` write a clean one"


@dataclass(frozen=True)
class Truth:
    """Annotated objects, those of one image together, in the order of the image ids.

    An object is known by its place here, never by the id it has in the file: many evaluators take an object with
    id 0 for "no object" and count what found it as wrong.

    Attributes:
        where: What messages call it: the name of the file.
        image_ids: Ids of all images, sorted; an image's place here is what ``image`` holds.
        files: ``file_name`` of each image.
        sizes: Width and height of each image in pixels ``(images, 2)``; 0 where the file does not say.
        category_ids: Ids of the classes, sorted; a class's place here is its label.
        names: Class names by label.
        image, label: Place of image and class of each object ``(N,)``.
        box: ``x, y, width, height`` in pixels ``(N, 4)``.
        area: Area in pixels ``(N,)``, for the ranges of size.
        crowd: Whether it stands for a group: neither to be found nor wrong to be found ``(N,)``.
        outlines: COCO polygons or run lengths of each object; None if they were not asked for.
    """

    where: str
    image_ids: tuple
    files: tuple[str, ...]
    sizes: np.ndarray
    category_ids: tuple
    names: tuple[str, ...]
    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    outlines: list | None

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def read(cls, source: Truth | Mapping | str | os.PathLike, *, outlines: bool | None = False) -> Truth:
        """Read COCO annotations.

        ``iscrowd`` may be missing (0), and so may ``area`` (that of the outline, or of the box).

        Args:
            source: JSON file, its content, or what was read before.
            outlines: Whether the outlines are needed, for the scores of masks; None: kept if every object has one.

        Raises:
            DataError: if the file cannot be read or is not sound, or if an object has no outline and they are needed.
        """
        if isinstance(source, Truth):
            if outlines and source.outlines is None:
                raise DataError(f"{source.where}: was read without outlines; read it again with outlines=True")
            return source
        if isinstance(source, Mapping):
            return cls._of(source, "annotations", outlines)
        return cls._of(load_json(Path(source)), str(source), outlines)

    @classmethod
    def _of(cls, data: Any, where: str, outlines: bool | None) -> Truth:
        for key in ("images", "annotations", "categories"):
            if not isinstance(data, Mapping) or not isinstance(data.get(key), (list, tuple)):
                raise DataError(f"{where}: has no list {key!r}; expected COCO's images, annotations and categories")
            if not all(isinstance(row, Mapping) and "id" in row for row in data[key]):
                raise DataError(f"{where}: an entry of {key!r} is no object with an id; {_REMEDY}")
        images = _by_id(data["images"], "image", where)
        categories = _by_id(data["categories"], "category", where)
        names = tuple(str(category.get("name")) for category in categories)
        for name, count in Counter(names).items():
            if count > 1:
                raise DataError(f"{where}: {count} categories are called {name!r}; merge them or rename one")
        rows = data["annotations"]
        columns = _columns(rows, images, categories, where)
        if outlines is None:
            outlines = bool(rows) and all(row.get("segmentation") for row in rows)
        wanted = _outlines(rows, where) if outlines else None
        area = _areas(rows, columns["box"], where)
        # Stable: within an image the order of the file decides between equal overlaps, as in pycocotools.
        order = np.argsort(columns["image"], kind="stable")
        sizes = [[image.get("width") or 0, image.get("height") or 0] for image in images]
        return cls(
            where=where,
            image_ids=tuple(image["id"] for image in images),
            files=tuple(str(image.get("file_name") or image["id"]) for image in images),
            sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
            category_ids=tuple(category["id"] for category in categories),
            names=names,
            area=area[order],
            outlines=None if wanted is None else [wanted[row] for row in order],
            **{name: column[order] for name, column in columns.items()},
        )

    def counts(self) -> np.ndarray:
        """Return how many objects of each class there are to be found ``(classes,)``; crowds are not."""
        return np.bincount(self.label[~self.crowd], minlength=len(self.names))


def _by_id(rows: Sequence[Mapping], what: str, where: str) -> list[Mapping]:
    try:
        found = sorted(rows, key=lambda row: row["id"])
    except TypeError as error:
        raise DataError(f"{where}: the ids of its {what} entries are of several kinds; {_REMEDY}") from error
    for one, other in pairwise(found):
        if one["id"] == other["id"]:
            raise DataError(f"{where}: two {what} entries have the id {one['id']!r}; {_REMEDY}")
    return found


def places(ids: Sequence, wanted: Sequence) -> tuple[np.ndarray, list]:
    """Return the place of each wanted id among ``ids``, -1 for those that are not there, and these by themselves."""
    table = {key: place for place, key in enumerate(ids)}
    found = np.array([table.get(key, -1) for key in wanted], dtype=np.int64)
    return found, [wanted[row] for row in np.flatnonzero(found < 0)]


def boxes_of(rows: Sequence[Mapping], what: str, where: str) -> np.ndarray:
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


def _columns(
    rows: Sequence[Mapping], images: Sequence[Mapping], categories: Sequence[Mapping], where: str
) -> dict[str, np.ndarray]:
    columns = {}
    for key, name, known in (("image_id", "image", images), ("category_id", "label", categories)):
        columns[name], unknown = places([entry["id"] for entry in known], [row.get(key) for row in rows])
        if unknown:
            raise DataError(
                f"{where}: {len(unknown)} annotations have the {key} {few(sorted(set(map(str, unknown))), 3)}, which "
                f"is not among its {'images' if name == 'image' else 'categories'}; {_REMEDY}"
            )
    columns["box"] = boxes_of(rows, "annotation", where)
    columns["crowd"] = np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=bool)
    return columns


def _outlines(rows: Sequence[Mapping], where: str) -> list:
    found = [row.get("segmentation") or None for row in rows]
    lacking = [row["id"] for row, outline in zip(rows, found, strict=True) if outline is None]
    if lacking:
        raise DataError(
            f"{where}: {len(lacking)} of {len(rows)} annotations have no segmentation (id {few(lacking, 3)}); "
            f"masks can be scored only where every object has one: score boxes, or complete the file"
        )
    return found


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


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else np.nan
