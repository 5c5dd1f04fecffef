"""Images too large for the memory: read, predicted and written by tiles, so that the memory needed stays the same.

Tiles overlap and their scores are blended, as in memory. An image is gone through in strips, each so wide that the
scores of the tiles that cover a row fit in a budget; tiles at a strip's border are predicted for both strips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from densekit.config_tree import types
from densekit.errors import DataError
from densekit.inference.segmentation.predictor import SCOPE, SegmentationPredictor
from densekit.inference.segmentation.source import as_rgb
from densekit.io import output_error
from densekit.io.depth import extent, rescaled, scaled, span_of
from densekit.io.rasters import Raster
from densekit.ops.tile_settings import TileSettings
from densekit.ops.tiled_scores import BlendedScores, Tile, predict_scores, predict_tiles, tile_size, tile_weights

_SCORES = 192 << 20
"""Bytes of scores held at a time, about."""
_REDUCED = 4
"""How many times smaller scores are than the image, as a rule."""
_BAND = 512
"""Rows read at a time where tiles do not say."""
_OVERVIEW = 4000
"""Longest side of the picture of a large image."""


class RasterPixels:
    """Parts of a large image as a network takes them.

    Args:
        raster: The image.
        predictor: Says which channels and ranges it takes.

    Attributes:
        notes: How the image is read.

    Raises:
        DataError: if the image has other channels than the network, or values that are no numbers.
    """

    def __init__(self, raster: Raster, predictor: SegmentationPredictor):
        self.raster, self.channels, self.notes = raster, predictor.channels, []
        if raster.channels != self.channels and not (self.channels == 3 and raster.channels == 1):
            raise DataError(
                f"{raster.path}: has {raster.channels} channels, the network takes {self.channels}; give images like "
                f"the training's"
            )
        if raster.channels != self.channels:
            self.notes.append("grey: read as three equal channels")
        self._kind, self._span = "", (0, 255)
        if raster.dtype != np.uint8:  # as a whole: tiles with ranges of their own would not fit together
            try:
                found = [extent(part) for part in self._bands()]
            except DataError as error:
                raise DataError(f"{raster.path}: {error}") from error
            self._kind = found[0][0]
            whole = (self._kind, min(low for _, low, _ in found), max(high for _, _, high in found))
            self._span, note = span_of(whole, predictor.ranges)
            self.notes.append(note)

    def _bands(self) -> Iterator[np.ndarray]:
        width, height = self.raster.size
        for top in range(0, height, _BAND):
            yield self.raster.read((0, top, width, min(_BAND, height - top)))

    def read(self, window: tuple[int, int, int, int]) -> np.ndarray:
        """A part ``(left, top, width, height)`` as pixels ``(h, w, C)``, colours as blue, green, red."""
        return self._brought(self.raster.read(window))

    def _brought(self, values: np.ndarray) -> np.ndarray:
        if self._kind and self.channels != 3:
            values = rescaled(values, {self._kind: self._span})
        elif self._kind:
            values = scaled(values, self._span)
        if self.channels != 3:
            return values
        return np.repeat(values, 3, 2) if values.shape[2] == 1 else np.ascontiguousarray(values[..., ::-1])

    def overview(self, factor: int) -> Image.Image:
        """The image in RGB, each pixel the mean of ``factor`` by ``factor``."""
        width, height = self.raster.size
        rows, step = [], factor * max(_BAND // factor, 1)
        for top in range(0, height, step):
            part = self.read((0, top, width, min(step, height - top)))
            size = (-(-width // factor), -(-len(part) // factor))
            rows.append(np.atleast_3d(cv2.resize(part, size, interpolation=cv2.INTER_AREA)))
        whole = np.concatenate(rows)
        return as_rgb(whole[..., ::-1] if self.channels == 3 else whole)


class LabelCanvas:
    """The labels of a large image in a file, written and read by parts; see :func:`label_canvas`."""

    def __init__(self, file: Any, size: tuple[int, int], name: str):
        self.file, self.size, self.name = file, size, name
        self.counts = np.zeros(256, np.int64)

    def write(self, row: int, column: int, part: np.ndarray) -> None:
        """Put a part in its place; each pixel is to be written once."""
        self.counts += np.bincount(part.ravel(), minlength=256)
        try:
            for line, values in enumerate(part, start=row):
                self.file.seek(line * self.size[0] + column)
                self.file.write(np.ascontiguousarray(values))
        except OSError as error:
            raise output_error(self.name, error) from error

    def bands(self, rows: int = _BAND) -> Iterator[np.ndarray]:
        """All rows, so many at a time."""
        width, height = self.size
        self.file.seek(0)
        for top in range(0, height, rows):
            count = min(rows, height - top)
            yield np.frombuffer(self.file.read(count * width), np.uint8).reshape(count, width)

    def overview(self, factor: int) -> np.ndarray:
        """Every ``factor``-th label of every ``factor``-th row, from the middle of each block."""
        width = self.size[0]
        columns = np.minimum(np.arange(0, width, factor) + factor // 2, width - 1)
        step = factor * max(_BAND // factor, 1)
        parts = []
        for part in self.bands(step):
            parts.append(part[np.minimum(np.arange(0, len(part), factor) + factor // 2, len(part) - 1)][:, columns])
        return np.concatenate(parts)


@contextmanager
def label_canvas(path: Path, size: tuple[int, int]) -> Iterator[LabelCanvas]:
    """An empty :class:`LabelCanvas` in a file that is gone afterwards."""
    try:
        file = path.open("wb+")
    except OSError as error:
        raise output_error(path, error) from error
    try:
        with file:
            yield LabelCanvas(file, size, path.name)
    finally:
        path.unlink(missing_ok=True)


def overview_factor(size: tuple[int, int]) -> int:
    """How many times smaller than the image its picture is."""
    return -(-max(size) // _OVERVIEW)


def predict_by_tiles(
    pixels: RasterPixels,
    predictor: SegmentationPredictor,
    write: Callable[[int, int, np.ndarray], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Predict a large image at its own resolution.

    Args:
        pixels: The image.
        predictor: Its crop, stride and blend are used, whatever its mode.
        write: Takes the first row and column of a part, and its labels (h, w); each pixel once.
        progress: Called with (tiles done, tiles in all).

    Returns:
        What is to be said of it.
    """
    from mmengine.registry import DefaultScope

    kept, left_out = _without_resizing(predictor)
    run = _Tiling(pixels, predictor, kept, progress)
    with torch.no_grad(), DefaultScope.overwrite_default_scope(SCOPE):
        for first in range(0, len(run.columns), run.across):
            for row, column, labels in run.strip(first):
                write(row, column, labels)
    size, s = pixels.raster.size, predictor.settings
    note = f"{size[0]} x {size[1]} pixels are more than {s.large:,}: predicted by tiles of {s.crop[1]} x {s.crop[0]}"
    notes = [note + f"; {left_out} of the transforms is left out: the image keeps its resolution" * bool(left_out)]
    return notes + ["probabilities of an image by tiles are not written"] * predictor.probabilities


class _Tiling:
    """One large image, strip by strip."""

    def __init__(
        self,
        pixels: RasterPixels,
        predictor: SegmentationPredictor,
        transforms: Sequence[Any],
        progress: Callable[[int, int], None],
    ):
        s = predictor.settings
        self.pixels, self.predictor, self.transforms, self.progress = pixels, predictor, transforms, progress
        self.settings, self.size = s, pixels.raster.size[::-1]
        self.rows, self.columns = s.origins(self.size)
        self.tile = tile_size(self.size, s)
        self.weights = tile_weights(self.tile, s.blend)
        self.network = partial(predict_scores, network=predictor.model.scores, settings=replace(s, mode="whole"))
        self.across = self._tiles_across(len(predictor.labels))
        self.done = 0
        self.total = len(self.rows) * sum(
            len(self._covering(first)) for first in range(0, len(self.columns), self.across)
        )

    def _tiles_across(self, classes: int) -> int:
        s: TileSettings = self.settings
        views = sum(scale**2 for scale in s.scales) * (1 + s.flip)
        each = 4 * classes * self.tile[0] * self.tile[1] * views / _REDUCED**2
        covering = [-(-side // step) for side, step in zip(s.crop, s.stride, strict=True)]
        return max(int(_SCORES / (each * covering[0])) - covering[1], 1)

    def _span(self, first: int) -> tuple[int, int]:
        """First column of a strip, and of the next one."""
        following = first + self.across
        left = self.columns[first] if first else 0
        return left, self.columns[following] if following < len(self.columns) else self.size[1]

    def _covering(self, first: int) -> list[int]:
        """First columns of the tiles that cover a strip."""
        left, right = self._span(first)
        return [column for column in self.columns if column < right and column + self.tile[1] > left]

    def strip(self, first: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """The labels of a strip, from top to bottom."""
        left, right = self._span(first)
        tiles: list[Tile] = []
        for number, row in enumerate(self.rows):
            tiles = [tile for tile in tiles if tile.row + self.tile[0] > row]
            tiles += self._predict(row, self._covering(first))
            below = self.rows[number + 1] if number + 1 < len(self.rows) else self.size[0]
            scores = BlendedScores(tiles, self.tile, self.weights, (row, left))
            yield row, left, scores.labels((below - row, right - left))[0].cpu().numpy()

    def _predict(self, row: int, columns: Sequence[int]) -> Iterator[Tile]:
        height, width = self.size
        start, stop = columns[0], min(columns[-1] + self.settings.crop[1], width)
        pixels = self.pixels.read((start, row, stop - start, min(self.settings.crop[0], height - row)))
        data = self.predictor.prepare_pixels(pixels, self.transforms)
        inputs = self.predictor.model.data_preprocessor(data, False)["inputs"]
        for n in range(0, len(columns), self.settings.batch):
            places = [(0, column - start) for column in columns[n : n + self.settings.batch]]
            for tile in predict_tiles(inputs, places, self.network, self.settings):
                yield Tile(tile.scores, row, tile.column + start)
            self.done += len(places)
            self.progress(self.done, self.total)


def _without_resizing(predictor: SegmentationPredictor) -> tuple[list[Any], str]:
    """The transforms that leave the size alone, and the names of the others."""
    resizing = [any("Resize" in str(kind) for kind in types(given)) for given in predictor.pipeline]
    kept = [t for t, resizes in zip(predictor.transforms, resizing, strict=True) if not resizes]
    names = [str(given["type"]) for given, resizes in zip(predictor.pipeline, resizing, strict=True) if resizes]
    return kept, " and ".join(names)
