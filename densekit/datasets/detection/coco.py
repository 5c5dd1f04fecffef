"""COCO JSON read: categories by name, images by the ends of their names, annotations as columns."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from densekit.datasets.detection.draft import DetectionSource, Draft, DraftImage, Part
from densekit.datasets.detection.findings import Findings
from densekit.datasets.shared.findings import EXAMPLES
from densekit.datasets.shared.image_files import ImageIndex
from densekit.errors import DataError, few
from densekit.io.files import load_json
from densekit.structures.detections import Detections
from densekit.structures.findings import Example

_IDS = {"images": ("id",), "annotations": ("image_id", "category_id"), "categories": ("id",)}
"""COCO's three lists, and what names something in their items."""
_AMBIGUOUS = -2
"""In place of an image whose name fits several files; annotations of it are left out with it."""


def read(source: DetectionSource) -> Draft:
    """Read the COCO files of a source. Categories are matched by name; their ids may be anything.

    Raises:
        DataError: if a file is not COCO JSON.
    """
    findings = Findings()
    index = ImageIndex(source.root)
    images: list[DraftImage] = []
    columns: list[Detections] = []
    names: dict[str, int] = {}
    orders: list[tuple[str, list[tuple[Any, str]]]] = []
    for part in source.parts:
        data = load(part.path)
        where = source.relative(part.path)
        labels, order = _read_categories(data, where, names, findings)
        orders.append((where, order))
        first = len(images)
        found, number = _read_images(data["images"], part, source, index, findings)
        images += found
        columns.append(_Reader(data["annotations"], where, findings).read(number, labels, first))
    _compare_orders(orders, findings)
    draft = Draft(images, list(names), Detections.join(columns), findings, "annotation")
    _drop_parents(draft, [order for _, order in orders])
    return draft


@contextmanager
def _without_collector() -> Iterator[None]:
    """Let a large JSON be built without the garbage collector going over it again and again (twice as fast)."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load(path: Path) -> dict[str, Any]:
    """Read a COCO JSON.

    Raises:
        DataError: if the file cannot be read, or has not COCO's three lists of objects with plain ids.
    """
    with _without_collector():
        data = load_json(path)
    lacking = [key for key in _IDS if not isinstance(data, dict) or not isinstance(data.get(key), list)]
    if lacking:
        raise DataError(f"{path}: has no list {' and no list '.join(map(repr, lacking))}; expected COCO's three lists")
    for key in _IDS:
        wrong = next((item for item in data[key] if not isinstance(item, dict)), None)
        if wrong is not None:
            raise DataError(f"{path}: {key!r} holds {str(wrong)[:40]!r}, which is no object; export the file again")
        for name in _IDS[key]:
            wrong = next((item for item in data[key] if isinstance(item.get(name), (list, dict))), None)
            if wrong is not None:
                given = f"{name}={str(wrong[name])[:40]} in {key!r}"
                raise DataError(f"{path}: {given} is no number; export the file again")
    return data


def _read_categories(
    data: Mapping, where: str, names: dict[str, int], findings: Findings
) -> tuple[dict[Any, int], list[tuple[Any, str, Any]]]:
    """Return the label of each category id (new names go to the end of ``names``), and the categories by id."""
    labels: dict[Any, int] = {}
    order = []
    by_id = sorted(
        data["categories"], key=lambda c: (0, c["id"]) if type(c.get("id")) is int else (1, str(c.get("id")))
    )
    for category in by_id:
        if "id" not in category or not isinstance(category.get("name"), str):
            raise DataError(f"{where}: category {str(category)[:60]} has no id or no name; complete it")
        name = category["name"].strip()
        if name != category["name"]:
            findings.add("name-spaces", f"{where}: {category['name']!r}")
        known = [n for i, n, _ in order if n == name]
        if known:
            findings.add("category-merged", f"{where}: {name!r} has another id, {category['id']}")
        label = names.setdefault(name, len(names))
        if labels.setdefault(category["id"], label) != label:
            first = next(n for i, n, _ in order if i == category["id"])
            findings.add("category-id-twice", f"{where}: id {category['id']} is {first!r} and {name!r}")
        order.append((category["id"], name, category.get("supercategory")))
    return labels, order


def _compare_orders(orders: Sequence[tuple[str, list]], findings: Findings) -> None:
    (first_file, first), *others = orders
    ids: dict[str, set] = defaultdict(set)  # Roboflow names a class like its parent: one name, two ids
    for i, name, _ in first:
        ids[name].add(i)
    for file, order in others:
        differ = [(name, i) for i, name, _ in order if name in ids and i not in ids[name]]
        if differ:
            words = few((f"{name} is {few(sorted(ids[name], key=str))} there, {i} here" for name, i in differ), 3)
            findings.add("category-order", f"{file}, against {first_file}: {words}", count=len(differ))


def _drop_parents(draft: Draft, orders: Sequence[list]) -> None:
    """Leave out categories that exist only to be the supercategory of others (Roboflow writes one as id 0)."""
    used = set(draft.annotations.labels.tolist())
    parents = {parent for order in orders for _, name, parent in order if parent and parent != name}
    out = [label for label, name in enumerate(draft.classes) if name in parents and label not in used]
    if not out:
        return
    draft.findings.add("category-parent", *(repr(draft.classes[label]) for label in out))
    kept = [label for label in range(len(draft.classes)) if label not in out]
    new = np.full(len(draft.classes), -1, dtype=np.int64)
    new[kept] = np.arange(len(kept))
    draft.annotations = replace(draft.annotations, labels=new[draft.annotations.labels])
    draft.classes = [draft.classes[label] for label in kept]


def _read_images(
    records: list[dict], part: Part, source: DetectionSource, index: ImageIndex, findings: Findings
) -> tuple[list[DraftImage], dict[Any, int]]:
    """Return the images of one file, and the place of each image id among them, :data:`_AMBIGUOUS` for none."""
    where = source.relative(part.path)
    names = _file_names(records, part, findings)
    beside = source.relative(part.path.parent)
    found = index.locate(names, beside="" if beside == "." else beside, split=part.split)
    images, number, unclear = [], {}, defaultdict(list)
    for record, name, files in zip(records, names, found, strict=True):
        width, height = size = _size(record)
        candidates = index.narrow(files, size)
        if len(candidates) > 1:
            number.setdefault(record["id"], _AMBIGUOUS)
            unclear[name, tuple(candidates)].append(record["id"])
            continue
        file = candidates[0] if candidates else None
        place = number.setdefault(record["id"], len(images))
        if place != len(images) and images[place].file != (file or name):
            findings.add("image-id-twice", f"{where}: id {record['id']} is {images[place].file} and {name}")
        images.append(DraftImage(file or name, part.split, width, height, record["id"], where, file is not None))
    places = [f"{where}: {name} (id {few(ids, 3)}) is {' or '.join(files)}" for (name, files), ids in unclear.items()]
    findings.add("image-ambiguous", *places[:EXAMPLES], count=sum(map(len, unclear.values())))
    return images, number


def _file_names(records: list[dict], part: Part, findings: Findings) -> list[str]:
    """Return what the images are called; LVIS writes no name but an address, of which the last two parts are it."""
    names = []
    for record in records:
        name, url = record.get("file_name"), record.get("coco_url")
        if not isinstance(name, str) and isinstance(url, str):
            name = "/".join(url.split("/")[-2:])
        if not isinstance(name, str) or "id" not in record:
            raise DataError(f"{part.path}: image {str(record)[:80]} has no file_name or no id; export the file again")
        names.append(name)
    if records and not any("file_name" in record for record in records):
        findings.add(
            "layout", count=len(records), message="images have no file_name: the end of their coco_url is taken (LVIS)"
        )
    return names


def _size(record: Mapping) -> tuple[int, int]:
    sides = (record.get("width"), record.get("height"))
    known = all(isinstance(side, (int, float)) and 0 < side < 2**31 for side in sides)
    return (round(sides[0]), round(sides[1])) if known else (0, 0)


class _Reader:
    """Turns the list of annotations of one file into columns. A list comprehension for each: files have a million."""

    def __init__(self, records: list[dict], where: str, findings: Findings) -> None:
        self.records = records
        self.where = where
        self.findings = findings

    def read(self, number: Mapping[Any, int], numbers: Mapping[Any, int], first: int) -> Detections:
        records = self.records
        origin = [r.get("id") for r in records]
        self._check_ids(origin)
        image, labels = self._look_up("image_id", number), self._look_up("category_id", numbers)
        outlines = [r.get("segmentation") or None for r in records]
        xywh, malformed = self._boxes(outlines)
        a = Detections(
            image_index=np.where(image < 0, image, image + first),
            labels=labels,
            xywh=xywh,
            crowd=self._flags("iscrowd"),
            ignore=self._flags("ignore"),
            areas=self._areas(),
            masks=outlines,
            origin=origin,
        )
        self._lacking("crowd-missing", "iscrowd")
        say = self._say
        self.findings.rows("annotation-without-image", np.flatnonzero(image == -1), lambda r: say(r, "image_id"))
        unknown = Counter(records[r].get("category_id") for r in np.flatnonzero(labels < 0))
        for category, count in unknown.items():
            self.findings.add(
                "category-unknown", Example(f"{self.where}: category_id {category}, {count} times"), count=count
            )
        self.findings.rows("box-malformed", np.flatnonzero(malformed), lambda r: say(r, "bbox"))
        return a.take((image >= 0) & (labels >= 0) & ~malformed)

    def _say(self, row: int, key: str) -> str:
        record = self.records[row]
        return f"{self.where}: annotation {record.get('id')} has {key} {str(record.get(key))[:60]}"

    def _check_ids(self, ids: list) -> None:
        zero = sum(1 for i in ids if i == 0)
        self.findings.add("annotation-id-zero", self.where, count=min(zero, 1))
        if len(set(map(str, ids))) < len(ids):
            again = [(i, n) for i, n in Counter(map(str, ids)).items() if n > 1]
            places = (f"{self.where}: id {i}, {n} times" for i, n in again[:3])
            self.findings.add("annotation-id-twice", *places, count=sum(n - 1 for _, n in again))

    def _look_up(self, key: str, table: Mapping[Any, int]) -> np.ndarray:
        found = [table.get(r.get(key), -1) for r in self.records]
        if -1 in found:  # some tools write ids as text in one list and as numbers in the other
            text = {str(k): v for k, v in table.items()}
            found = [text.get(str(r.get(key)), -1) if f < 0 else f for f, r in zip(found, self.records, strict=True)]
        return np.array(found, dtype=np.int64)

    def _boxes(self, outlines: list) -> tuple[np.ndarray, np.ndarray]:
        """Return the boxes, NaN where there is an outline to take one from, and where they cannot be read."""
        values = [r.get("bbox") for r in self.records]
        malformed = np.zeros(len(values), dtype=bool)
        try:
            bbox = np.array(values, dtype=np.float64).reshape(len(values), 4)
        except (TypeError, ValueError, OverflowError):
            bbox = np.full((len(values), 4), np.nan)
            for row, value in enumerate(values):
                try:
                    bbox[row] = np.array(value, dtype=np.float64).reshape(4)
                except (TypeError, ValueError, OverflowError):
                    malformed[row] = value not in (None, []) or outlines[row] is None
        given = np.array([value not in (None, []) for value in values], dtype=bool)
        malformed |= ~np.isfinite(bbox).all(axis=1) & (given | np.array([o is None for o in outlines], dtype=bool))
        return bbox, malformed

    def _flags(self, key: str) -> np.ndarray:
        return np.array([r.get(key) in (1, True, "1") for r in self.records], dtype=bool)

    def _areas(self) -> np.ndarray:
        values = [r.get("area") for r in self.records]
        area = np.array(
            [v if isinstance(v, (int, float)) and 0 < v < 1e300 else np.nan for v in values], dtype=np.float64
        )
        self.findings.rows("area-missing", np.flatnonzero(np.isnan(area)), lambda r: self._say(r, "area"))
        return area

    def _lacking(self, code: str, key: str) -> None:
        self.findings.rows(
            code, [n for n, r in enumerate(self.records) if r.get(key) is None], lambda r: self._say(r, key)
        )
