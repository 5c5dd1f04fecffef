"""Pixels counted image by image: all that the scores of a segmentation need, and the file that keeps it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from densekit.errors import DataError
from densekit.evaluation.segmentation.borders import near_border, radius_of
from densekit.evaluation.segmentation.errors import error_map
from densekit.io.atomic import atomic_path
from densekit.structures.label_images import IGNORED

BOUNDARY = 0.02
"""Width of the boundary of a mask as a share of the image's diagonal (Cheng et al. 2021)."""
_VALUES = 256
_PIXELS = 1 << 20
"""Counted at a time, to bound memory."""


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of one image that have a class.

    Attributes:
        cells: ``(M, 3)`` of int64: true class, class found, pixels; only those that occur.
        borders: ``(R, 7)`` of int64, a row for each class that occurs: the class; pixels of the boundary of its mask in
            both, in the truth, in what was found; and wrong pixels of the true class by kind of error
            (:data:`~densekit.evaluation.segmentation.errors.KINDS`).
    """

    cells: np.ndarray
    borders: np.ndarray

    @property
    def wrong(self) -> float:
        """Share of the pixels that are wrong; 0 of none."""
        pixels = self.cells[:, 2]
        return float(pixels[self.cells[:, 0] != self.cells[:, 1]].sum() / max(1, pixels.sum()))


def count_image(
    truth: np.ndarray, found: np.ndarray, classes: int, *, boundary: float | None = BOUNDARY, where: str = "image"
) -> ImageCounts:
    """Count what one image adds to the scores.

    Args:
        truth: ``(H, W)`` uint8, class of each pixel; :data:`IGNORED` does not count.
        found: ``(H, W)`` uint8, the class predicted.
        classes: How many there are.
        boundary: Width of the boundaries as a share of the diagonal; None: no boundaries and kinds of errors.
        where: Named in errors.

    Raises:
        DataError: if the two have other sizes, or labels that are no class.
    """
    if truth.shape != found.shape:
        raise DataError(
            f"{where}: predicted as {_size(found)} pixels, its mask has {_size(truth)}; an image is scored in its "
            f"original size: load masks after the resize of test_pipeline"
        )
    pixels = _joint_histogram(truth, found)[:IGNORED]
    for labels, what, remedy in (
        (np.flatnonzero(pixels.any(axis=1)), "its mask has", "give the classes of this data set, or ignore that value"),
        (np.flatnonzero(pixels.any(axis=0)), "the model predicts", "build the model for the classes of this data set"),
    ):
        if labels.max(initial=0) >= classes:
            raise DataError(f"{where}: {what} label {labels.max()}, there are {classes} classes; {remedy}")
    cells = np.argwhere(pixels)
    cells = np.column_stack([cells, pixels[tuple(cells.T)]])
    there = np.unique(cells[:, :2])
    return ImageCounts(cells, _borders(truth, found, there, boundary))


def _borders(truth: np.ndarray, found: np.ndarray, there: np.ndarray, boundary: float | None) -> np.ndarray:
    if boundary is None or not len(there):
        return np.zeros((0, 7), np.int64)
    found = found | _all_bits(truth == IGNORED)
    radius = radius_of(truth.shape, boundary)
    one, other = (labels | _all_bits(~near_border(labels, radius)) for labels in (truth, found))
    on_both = _joint_histogram(one, other)
    kinds = _joint_histogram(truth, error_map(truth, found))
    columns = (
        on_both.diagonal(),
        on_both.sum(axis=1),
        on_both.sum(axis=0),
        *kinds[:, 1:4].T,
    )
    return np.column_stack([there, *(column[there] for column in columns)])


def _all_bits(places: np.ndarray) -> np.ndarray:
    """:data:`IGNORED` at the places ``(H, W)`` of bool, 0 elsewhere: what has these bits set is ignored."""
    return np.negative(places.view(np.uint8))


def _joint_histogram(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many pixels have each pair of values, ``(256, 256)`` of int64; counted by stretches of one pair."""
    counts = np.zeros((_VALUES, _VALUES), np.int64)
    rows = max(1, _PIXELS // max(1, one.shape[1]))
    for first in range(0, len(one), rows):
        pair = np.left_shift(one[first : first + rows], 8, dtype=np.uint16).ravel()
        pair |= other[first : first + rows].ravel()
        ends = np.append(np.flatnonzero(pair[1:] != pair[:-1]), pair.size - 1)
        pixels = np.bincount(pair[ends], np.diff(ends, prepend=-1), _VALUES**2)
        counts += pixels.reshape(counts.shape).astype(np.int64)
    return counts


def _size(labels: np.ndarray) -> str:
    return " x ".join(map(str, labels.shape[::-1]))


@dataclass(frozen=True)
class SegmentationCounts:
    """The counts of the images of a data set.

    Attributes:
        names: Class names.
        files: The images, as they were named to the metric.
        cells: ``(M, 4)`` of int64: image, and the columns of :attr:`ImageCounts.cells`.
        borders: ``(R, 8)`` of int64: image, and the columns of :attr:`ImageCounts.borders`.
        boundary: Width of the boundaries as a share of the diagonal; None if they were not counted.
        predictions: Label images as PNG of some images, the worst ones, by image.
    """

    names: tuple[str, ...]
    files: tuple[str, ...]
    cells: np.ndarray
    borders: np.ndarray
    boundary: float | None = BOUNDARY
    predictions: Mapping[int, bytes] = field(default_factory=dict)

    @classmethod
    def join(
        cls,
        names: Sequence[str],
        images: Iterable[tuple[str, ImageCounts]],
        *,
        boundary: float | None = BOUNDARY,
        predictions: Mapping[int, bytes] | None = None,
    ) -> SegmentationCounts:
        """Put the counts of images, each with its file, together."""
        images = list(images)

        def stacked(parts: list[np.ndarray], columns: int) -> np.ndarray:
            index = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            return np.column_stack([index, np.concatenate([np.zeros((0, columns), np.int64), *parts])])

        return cls(
            tuple(names),
            tuple(file for file, _ in images),
            stacked([counts.cells for _, counts in images], 3),
            stacked([counts.borders for _, counts in images], 7),
            boundary,
            dict(predictions or {}),
        )

    def confusion(self) -> np.ndarray:
        """Pixels by true class (rows) and class found (columns), ``(K, K)`` of int64."""
        counts = np.zeros((len(self.names),) * 2, np.int64)
        np.add.at(counts, (self.cells[:, 1], self.cells[:, 2]), self.cells[:, 3])
        return counts

    def wrong(self) -> np.ndarray:
        """Share of the pixels of each image that are wrong, ``(N,)``; 0 of an image without pixels that count."""
        image, truth, found, pixels = self.cells.T
        total = np.bincount(image, pixels, len(self.files))
        return np.bincount(image, pixels * (truth != found), len(self.files)) / np.maximum(total, 1)

    def prediction(self, image: int) -> np.ndarray | None:
        """What was predicted for an image, ``(H, W)`` uint8; None if it is not kept."""
        packed = self.predictions.get(image)
        return None if packed is None else unpack_labels(packed)

    def write(self, path: str | os.PathLike) -> None:
        """Write everything as one ``.npz`` file.

        Raises:
            OutputError: if the file cannot be written.
        """
        kept = {f"prediction_{image}": np.frombuffer(png, np.uint8) for image, png in self.predictions.items()}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                names=np.array(self.names, np.str_),
                files=np.array(self.files, np.str_),
                cells=self.cells,
                borders=self.borders,
                boundary=np.array(np.nan if self.boundary is None else self.boundary),
                **kept,
            )

    @classmethod
    def read(cls, path: str | os.PathLike) -> SegmentationCounts:
        """Read what :meth:`write` wrote.

        Raises:
            DataError: if the file cannot be read, or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                boundary = float(file["boundary"])
                return cls(
                    tuple(file["names"].tolist()),
                    tuple(file["files"].tolist()),
                    file["cells"],
                    file["borders"],
                    None if np.isnan(boundary) else boundary,
                    {
                        int(key.removeprefix("prediction_")): file[key].tobytes()
                        for key in file.files
                        if key.startswith("prediction_")
                    },
                )
        except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path}: holds no counts of a segmentation ({type(error).__name__}); score the model again"
            ) from error


def pack_labels(labels: np.ndarray) -> bytes:
    """A label image ``(H, W)`` uint8 as PNG."""
    return cv2.imencode(".png", labels, [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE])[1].tobytes()


def unpack_labels(packed: bytes) -> np.ndarray:
    """The label image of :func:`pack_labels`."""
    return cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_UNCHANGED)
