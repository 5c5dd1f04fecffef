"""Preparing one case: read, checked, brought to the network's grid, written by rename."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densekit.datasets.volume.label_values import stored_labels
from densekit.datasets.volume.prepare.boxes import SourceBoxes
from densekit.datasets.volume.prepare.source import CaseSource
from densekit.datasets.volume.preprocessing import Preprocessing, SpatialResult
from densekit.datasets.volume.stored import CASE_FORMAT, StoredCase
from densekit.errors import DataError
from densekit.io import Geometry, check_intensities, output_error, read_geometry, read_label, read_volume
from densekit.structures.notes import CAUTION

FOREGROUND_PER_CLASS = 10_000
"""Most voxels of a class that ``foreground.npy`` lists."""

PARTIAL = ".partial-"
"""Begins the name of a folder in which a case is being built."""


@dataclass(frozen=True)
class CaseSettings:
    """What every case of a data set is prepared with.

    Attributes:
        preprocessing: Channels, spacing and normalisation; intensities are not needed yet.
        labels: Class names by stored label value.
        remap: Raw label value -> stored value; None: as they are.
    """

    preprocessing: Preprocessing
    labels: tuple[str, ...]
    remap: dict[int, int] | None

    def hash(self, source: CaseSource) -> str:
        """Return the hash of a case's source files (paths and contents) and of these settings."""
        settings = [CASE_FORMAT, self.preprocessing.to_dict(), self.labels, sorted((self.remap or {}).items())]
        digest = hashlib.blake2b(json.dumps(settings).encode(), digest_size=16)
        for path in (*source.images, source.label):
            digest.update(f"\0{path and path.resolve()}\0".encode())
            if path is not None:
                with path.open("rb") as file:
                    while block := file.read(1 << 20):
                        digest.update(block)
        if source.boxes is not None:
            digest.update(repr((source.boxes.corners, source.boxes.labels, source.boxes.space)).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Scan:
    """A case as read: image (C, D, H, W) and labels (D, H, W) with stored values, on the source's canonical grid."""

    geometry: Geometry
    image: np.ndarray
    labels: np.ndarray | None
    counts: np.ndarray | None
    notes: list[str]


def check_grids(source: CaseSource) -> tuple[Geometry | None, list[str]]:
    """Read the headers of a case and check that all its files are on one grid.

    Returns:
        The grid of the first image there is (None if it cannot be read), and the problems found.
    """
    problems, grids = [], {}
    for path in (*source.images, source.label):
        if path is None:
            continue
        try:
            grids[path] = read_geometry(path)
        except DataError as error:
            problems.append(str(error))
    reference = next(path for path in source.images if path is not None)
    first = grids.get(reference)
    for path, grid in grids.items():
        difference = first and first.difference(grid)
        if difference:
            kind = "label" if path == source.label else "image"
            problems.append(
                f"{reference} and its {kind} {path} are on different grids: {difference}; resample the {kind} "
                f"to the grid of the image, or give the files that belong together"
            )
    if first is not None and source.boxes is not None:
        problems += source.boxes.problems(first)
    return first, problems


def write_case(source: CaseSource, settings: CaseSettings, folder: Path, case_hash: str) -> None:
    """Prepare a case and write it to ``folder`` by rename.

    Raises:
        DataError: with every problem of its files, separated by ``"; and "``.
        OutputError: if it cannot be written.
    """
    preprocessing = settings.preprocessing
    scan = read_case(source, settings)
    result = preprocessing.spatial(scan.image, scan.geometry.canonical_spacing)
    image = _fit_dtype(result.array)
    arrays = {"image": image, "foreground": np.empty((0, 4), dtype=np.int32)}
    notes = scan.notes
    if scan.labels is not None:
        arrays["label"] = result.labels_to_network(scan.labels)
        arrays["foreground"] = _foreground(arrays["label"], seed=list(source.id.encode()))
        arrays["reference"] = scan.labels
        notes = notes + _label_notes(scan, scan.labels[result.region], arrays["label"], settings.labels)
    description = {
        "id": source.id,
        "sources": {
            "images": [path and str(path.resolve()) for path in source.images],
            "label": None if source.label is None else str(source.label.resolve()),
        },
        "geometry": scan.geometry.to_dict(),
        "source_spacing": list(scan.geometry.canonical_spacing),
        "box": [list(side) for side in result.box],
        "shape_before": list(result.shape_before),
        "shape": list(result.shape),
        "spacing": list(preprocessing.spacing or scan.geometry.canonical_spacing),
        "statistics": preprocessing.statistics(result.array),
        "minimum": [float(channel.min()) for channel in image],
        "volumes_ml": _volumes(scan, settings.labels),
        "notes": notes,
        "hash": case_hash,
        "content": _content_hash(scan.image),
    }
    if source.boxes is not None:
        description |= _boxes(source.boxes, scan.geometry, result)
    _write_by_rename(folder, arrays, description)


def is_current(folder: Path, case_hash: str) -> bool:
    """Return whether a folder holds a case that can be read, made from the same sources and settings."""
    try:
        case = StoredCase.read(folder, {"patient": ""})
        case.open_arrays()
    except DataError:
        return False
    return case.hash == case_hash


def read_case(source: CaseSource, settings: CaseSettings) -> Scan:
    """Read a case and check intensities and label values; a channel that it lacks is zero everywhere.

    Raises:
        DataError: with every problem of its files, separated by ``"; and "``.
    """
    problems, volumes, notes = [], [], []
    labels = counts = None
    for path in source.images:
        if path is None:
            volumes.append(None)
            continue
        try:
            volume = read_volume(path)
            check_intensities(volume)
        except DataError as error:
            problems.append(str(error))
        else:
            volumes.append(volume)
            notes += volume.notes
    if source.label is not None:
        try:
            volume = read_label(source.label)
            labels, counts = stored_labels(volume.array[0], settings.labels, settings.remap, source.label)
            notes += volume.notes
        except DataError as error:
            problems.append(str(error))
    channels = settings.preprocessing.channels
    if not problems and len(volumes) != len(channels):
        problems.append(f"{len(volumes)} image files, expected one for each of {len(channels)}: {', '.join(channels)}")
    if problems:
        raise DataError("; and ".join(problems))
    first = next(volume for volume in volumes if volume is not None)
    arrays = [np.zeros_like(first.array) if volume is None else volume.array for volume in volumes]
    image = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Scan(first.geometry, image, labels, counts, list(dict.fromkeys(notes)))


def _fit_dtype(image: np.ndarray) -> np.ndarray:
    """Keep float32 and uint8; bring other integers to int16 where they fit."""
    if image.dtype in (np.float32, np.uint8, np.int16):
        return image
    limits = np.iinfo(np.int16)
    fits = limits.min <= image.min() and image.max() <= limits.max
    return image.astype(np.int16) if fits else image


def _foreground(label: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Return up to :data:`FOREGROUND_PER_CLASS` voxels of each class as rows (label, d, h, w), ordered by label."""
    rng = np.random.default_rng(seed)
    inside = np.flatnonzero(label)
    values = label.ravel()[inside]
    chosen = [np.empty((0, 4), dtype=np.int64)]
    for value in np.unique(values):
        voxels = inside[values == value]
        if voxels.size > FOREGROUND_PER_CLASS:
            voxels = np.sort(rng.choice(voxels, FOREGROUND_PER_CLASS, replace=False))
        chosen.append(np.stack([np.full(voxels.size, value), *np.unravel_index(voxels, label.shape)], axis=1))
    return np.concatenate(chosen).astype(np.int32)


def _label_notes(scan: Scan, kept: np.ndarray, prepared: np.ndarray, names: Sequence[str]) -> list[str]:
    """Say what a user of the labels should know: nothing is labelled, or not all of it is on the prepared grid."""
    if not scan.counts[1:].any():
        return [f"{CAUTION}no voxel is labelled"]
    notes = []
    outside = int(scan.counts[1:].sum()) - np.count_nonzero(kept)
    if outside:
        notes.append(f"{CAUTION}{outside} labelled voxels lie in the constant border that was cropped")
    lost = [names[value] for value in np.flatnonzero(scan.counts) if value and not (prepared == value).any()]
    if lost:
        notes.append(f"{CAUTION}too small for the prepared grid, no voxel left: {', '.join(lost)}")
    return notes


def _boxes(source: SourceBoxes, geometry: Geometry, result: SpatialResult) -> dict[str, Any]:
    """Bring the boxes of a case to its prepared grid; one in the border that was cropped has nothing in it."""
    boxes = result.boxes_to_network(source.on_grid(geometry))
    for row, box in zip(source.rows, boxes, strict=True):
        if (box[3:] <= box[:3]).any():
            raise DataError(f"{row}: the box lies where the scan is constant to its border; correct or remove it")
    return {"boxes": boxes.tolist(), "box_labels": list(source.labels)}


def _content_hash(image: np.ndarray) -> str:
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=8)
    for channel in image:
        digest.update(np.ascontiguousarray(_as_short(channel)))
    return digest.hexdigest()


def _as_short(values: np.ndarray) -> np.ndarray:
    """Return int16 where that holds the same values: a scan stays itself when a tool writes it in another type."""
    with np.errstate(invalid="ignore"):
        short = values.astype(np.int16, copy=False)
    return short if np.array_equal(short, values) else values


def _volumes(scan: Scan, names: Sequence[str]) -> dict[str, float] | None:
    if scan.counts is None:
        return None
    return {name: n * scan.geometry.voxel_ml for name, n in zip(names[1:], scan.counts[1:].tolist(), strict=True)}


def _write_by_rename(folder: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    partial = folder.with_name(f"{PARTIAL}{folder.name}")
    try:
        partial.mkdir(parents=True)
        for name, array in arrays.items():
            if name == "reference":  # read whole, once a validation: small on disk counts for more than a memory map
                np.savez_compressed(partial / "reference.npz", labels=array)
            else:
                np.save(partial / f"{name}.npy", array)
        text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / "case.json").write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        with contextlib.suppress(OSError):  # renamed away as a rule
            shutil.rmtree(partial)
