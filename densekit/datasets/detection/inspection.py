"""A data set looked at as a whole: what it holds, what was found, some images to show; kept until a file changes."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densekit.datasets.detection.columns import are_current, write_columns
from densekit.datasets.detection.dataset import DetectionDataset, read_description
from densekit.datasets.detection.draft import DetectionSource
from densekit.datasets.detection.findings import Findings
from densekit.datasets.detection.quality import check_quality, seen_sides
from densekit.datasets.detection.reading import check_class_list, combined_fingerprint, read
from densekit.datasets.detection.recognize import recognize
from densekit.datasets.shared.cache import AUTO, cache_folder, writing_cache
from densekit.datasets.shared.folds import Fold
from densekit.datasets.shared.inspection import Inspection
from densekit.errors import OutputError
from densekit.io.atomic import write_json_atomic
from densekit.io.depth import Ranges
from densekit.structures.boxes import area
from densekit.structures.findings import Example, Finding

GALLERY = 12
SIDES = (8, 16, 32, 64, 128, 256, 512)
"""Limits, in pixels, between the bars of the histogram of object sizes."""

_INSPECTION = "check.json"
_VERSION = 5
_SHOWN_OBJECTS = 300

log = logging.getLogger("densekit")


@dataclass(frozen=True)
class PreparedDetection:
    """A sound data set as training reads it.

    Attributes:
        name: Name of the data set.
        format: ``"coco"``, ``"yolo"``, ``"voc"`` or ``"masks"``.
        layout: What was recognised, in a sentence.
        root: Folder that ``file_name`` is relative to (``data_prefix=dict(img=root)``).
        classes: Class names, the place is the label (``metainfo=dict(classes=classes)``).
        annotations: COCO JSON of each split. Category ids are 1 to the number of classes, in this order.
        counts: Of each split the number of ``images``, ``background`` images and ``objects``.
        has_masks: Whether every object has an outline.
        ranges: Of the images of more than 8 bits; see :mod:`densekit.io.depth`.
        fingerprint: Hash of the source files and settings, to be kept with what is trained.
        findings: Warnings and notes.
    """

    name: str
    format: str
    layout: str
    root: Path
    classes: tuple[str, ...]
    annotations: Mapping[str, Path]
    counts: Mapping[str, Mapping[str, int]]
    has_masks: bool
    ranges: Ranges
    fingerprint: str
    findings: tuple[Finding, ...]


def inspect_detection(
    path: str | Path,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int | None = 0,
    input_size: tuple[int, int] = (1333, 800),
    cache: str | Path | None = AUTO,
) -> Inspection:
    """Recognise, read and check a detection data set.

    Args:
        path: Folder, COCO JSON or data.yaml.
        format: ``"coco"``, ``"yolo"``, ``"voc"`` or ``"masks"``; None finds out.
        classes: Names to keep, in the order of their labels; None: all.
        seed: Seed of the draw if the data have no validation split; None: none is drawn.
        input_size: Longer and shorter side that images are resized to in training: sizes are judged as seen then.
        cache: Folder to keep the result in until a file changes; ``"auto"``: ``$XDG_CACHE_HOME/densekit`` or
            ``~/.cache/densekit``; None: nothing is kept. Where it cannot be written, a warning is logged.

    Raises:
        DataError: if there is no data set, or its files cannot be read at all.
        ConfigError: if ``classes`` or ``format`` cannot be right.
    """
    job = _Job(path, format, classes, seed, input_size, cache)
    inspection = job.inspect()
    try:
        job.keep(inspection)
    except OutputError as error:
        log.warning("%s; the result of the check is not kept", error)
    return inspection


def prepare_detection(
    path: str | Path,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int | None = 0,
    input_size: tuple[int, int] = (1333, 800),
    cache: str | Path = AUTO,
    fold: Fold | None = None,
) -> PreparedDetection:
    """Check a data set and write one clean COCO JSON per split; a second run finds both in the cache.

    Arguments as :func:`inspect_detection`, and a fold, see :func:`densekit.datasets.detection.reading.read`. All folds
    are in ``splits.json`` beside the COCO JSON.

    Raises:
        DataError: if the data set has errors (warnings pass), or none is there.
        ConfigError: if ``classes`` or ``format`` cannot be right.
        OutputError: if the cache cannot be written.
    """
    job = _Job(path, format, classes, seed, input_size, cache, fold)
    inspection = job.inspect()
    job.keep(inspection)
    inspection.require_sound()
    return job.prepare(inspection)


class _Job:
    def __init__(
        self,
        path: str | Path,
        format: str | None,
        classes: Sequence[str] | None,
        seed: int | None,
        input_size: tuple[int, int],
        cache: str | Path | None,
        fold: Fold | None = None,
    ) -> None:
        check_class_list(classes)
        self.path = path
        self.classes = classes
        self.seed, self.fold = seed, fold
        self.input_size = input_size
        self.source = recognize(path, format=format)
        self.folder = None if cache is None else _cache_folder(cache, self.source, classes, seed, fold)
        self.dataset: DetectionDataset | None = None

    def inspect(self) -> Inspection:
        kept = self._kept()
        if kept is not None:
            return kept
        dataset = self._read()
        findings = Findings.of(dataset.findings)
        check_quality(dataset, findings, input_size=self.input_size, named=self.classes is not None)
        return Inspection(str(self.path), summarize(dataset, self.input_size), findings.listed())

    def keep(self, inspection: Inspection) -> None:
        """Write an inspection to the cache, unless it comes from there."""
        if self.folder is None or self.dataset is None:
            return
        written = {
            "version": _VERSION,
            "input_size": list(self.input_size),
            "fingerprint": self.dataset.fingerprint,
            "watched": [str(folder) for folder in self.dataset.watched],
            "summary": inspection.summary,
            "findings": [asdict(finding) for finding in inspection.findings],
        }
        with writing_cache():
            write_json_atomic(self.folder / _INSPECTION, written, indent=None)

    def prepare(self, inspection: Inspection) -> PreparedDetection:
        description = read_description(self.folder)
        if not self._is_current(description) or not all(
            self._file(split).is_file() for split in description.get("splits", {})
        ):
            dataset = self._read()
            with writing_cache():
                dataset.write_coco(self.folder)
            description = dataset.describe()
        for split in description["splits"]:
            if not are_current(self._file(split)):
                with writing_cache():
                    write_columns(self._file(split))
        return PreparedDetection(
            name=description["name"],
            format=description["format"],
            layout=description["layout"],
            root=Path(description["root"]),
            classes=tuple(description["classes"]),
            annotations={split: self._file(split) for split in description["splits"]},
            counts=description["splits"],
            has_masks=description["has_masks"],
            ranges=description["ranges"],
            fingerprint=description["fingerprint"],
            findings=inspection.findings,
        )

    def _file(self, split: str) -> Path:
        return self.folder / f"{split}.json"

    def _read(self) -> DetectionDataset:
        if self.dataset is None:
            self.dataset = read(self.source, classes=self.classes, seed=self.seed, fold=self.fold)
        return self.dataset

    def _kept(self) -> Inspection | None:
        """Return the inspection in the cache if no file has changed since."""
        if self.folder is None:
            return None
        try:
            found = json.loads((self.folder / _INSPECTION).read_text(encoding="utf-8"))
            current = (found["version"], found["input_size"]) == (_VERSION, list(self.input_size))
            findings = tuple(_finding(item) for item in found["findings"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # there is none, or it was written by another version
        if not current or not self._is_current(found):
            return None
        return Inspection(str(self.path), found["summary"], findings)

    def _is_current(self, kept: Mapping[str, Any]) -> bool:
        if "watched" not in kept:
            return False
        watched = [Path(folder) for folder in kept["watched"]]
        if self.dataset is not None:
            return kept["fingerprint"] == self.dataset.fingerprint
        return kept["fingerprint"] == combined_fingerprint(watched, self.source, self.classes, self.seed, self.fold)


def _finding(item: Mapping[str, Any]) -> Finding:
    """Build a finding from JSON, where tuples have become lists."""
    examples = []
    for example in item["examples"]:
        drawn = {key: tuple(map(tuple, example[key])) for key in ("boxes", "outlines", "likely")}
        examples.append(Example(example["where"], example["image"], **drawn))
    return Finding(**{**item, "examples": tuple(examples)})


def _cache_folder(
    cache: str | Path, source: DetectionSource, classes: Sequence[str] | None, seed: int | None, fold: Fold | None
) -> Path:
    parts = [(part.split, str(part.path)) for part in source.parts]
    key = f"{source.root} {source.format} {parts} {classes and list(classes)} {seed}"
    return cache_folder(cache, "detection", source.root.name, key + (f" {fold}" if fold else ""))


def summarize(dataset: DetectionDataset, input_size: tuple[int, int] = (1333, 800)) -> dict[str, Any]:
    """Return what the table and the page show of a data set, in plain JSON types.

    Args:
        dataset: The data set.
        input_size: Longer and shorter side that images are resized to in training.
    """
    a = dataset.annotations
    place = {name: number for number, name in enumerate(dataset.splits)}
    split = np.array([place[image.split] for image in dataset.images], dtype=np.int64)
    counts = np.zeros((len(dataset.splits), len(dataset.classes)), dtype=np.int64)
    np.add.at(counts, (split[a.image_index], a.labels), 1)
    side = np.sqrt(area(a.xywh))
    order = np.argsort(a.labels, kind="stable")
    groups = np.split(side[order], np.cumsum(np.bincount(a.labels, minlength=len(dataset.classes)))[:-1])
    sizes = Counter((image.width, image.height) for image in dataset.images)
    per_image = dataset.objects_per_image()
    return {
        "name": dataset.name,
        "format": dataset.format,
        "layout": dataset.layout,
        "root": str(dataset.root),
        "outlines": int(a.outlined.sum()),
        "splits": {name: dataset.counts(name) for name in dataset.splits},
        "classes": [
            {
                "name": name,
                "objects": dict(zip(dataset.splits, counts[:, label].tolist(), strict=True)),
                "median_side": float(np.median(groups[label])) if len(groups[label]) else None,
            }
            for label, name in enumerate(dataset.classes)
        ],
        "sizes": [[w, h, n] for (w, h), n in sizes.most_common(5)],
        "different_sizes": len(sizes),
        "objects_per_image": [float(np.median(per_image)), int(per_image.max())] if len(per_image) else [0.0, 0],
        "input_size": list(input_size),
        "seen_sides": np.histogram(seen_sides(dataset, input_size), bins=(0, *SIDES, np.inf))[0].tolist(),
        "gallery": [_in_gallery(dataset, index) for index in _choose(dataset)],
    }


def _choose(dataset: DetectionDataset) -> list[int]:
    """Choose images to show: for each class from the rarest on one that has it, then any; always the same ones."""
    there = np.array([header is not None and not header.problem for header in dataset.headers], dtype=bool)
    mixed = np.random.default_rng(0).permutation(np.flatnonzero(there))
    place = np.full(len(dataset.images), -1, dtype=np.int64)
    place[mixed] = np.arange(len(mixed))
    a = dataset.annotations
    rows = np.flatnonzero(place[a.image_index] >= 0)
    rows = rows[np.argsort(place[a.image_index[rows]], kind="stable")]
    chosen: list[int] = []
    for label in np.argsort(np.bincount(a.labels, minlength=len(dataset.classes)), kind="stable"):
        having = a.image_index[rows[a.labels[rows] == label]]
        new = [int(image) for image in having if image not in chosen]
        if new and len(chosen) < GALLERY and not set(having.tolist()) & set(chosen):
            chosen.append(new[0])
    rest = (int(image) for image in mixed if image not in chosen)
    return chosen + [image for image, _ in zip(rest, range(GALLERY - len(chosen)), strict=False)]


def _in_gallery(dataset: DetectionDataset, index: int) -> dict[str, Any]:
    a, image = dataset.annotations, dataset.images[index]
    rows = np.flatnonzero(a.image_index == index)
    shown = rows[:_SHOWN_OBJECTS]
    return {
        "file": str(dataset.path(index)),
        "name": image.file,
        "split": image.split,
        "boxes": a.xyxy[shown].tolist(),
        "labels": a.labels[shown].tolist(),
        "outlines": [a.masks[row] for row in shown],
        "objects": len(rows),
    }
