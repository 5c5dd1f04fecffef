"""Class scores of a batch of images: whole or by tiles, at several scales, with mirror images.

By tiles with ``blend="mean"`` the sums are MMSegmentation's ``slide_inference``, in the same order of summation; its
accumulator of all classes at full size is not needed, as the tiles keep their own resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from densekit.errors import DataError, why_too_small
from densekit.ops.class_scores import ClassScores, Restore, Size, first_largest
from densekit.ops.sliding_window import window_weights
from densekit.ops.tile_settings import TileSettings

Network = Callable[[Tensor], ClassScores]
"""Preprocessed images (B, C, H, W) -> their scores."""


def tile_weights(size: Size, blend: str) -> Tensor:
    """How much each pixel of a tile weighs, float32 (h, w); nowhere 0."""
    if blend != "cosine":
        return window_weights(size, "gaussian" if blend == "gaussian" else "uniform")
    down, across = (torch.sin(torch.pi * (torch.arange(n) + 0.5) / n) ** 2 for n in size)
    return (down[:, None] * across).clamp(min=1e-3)


@dataclass(frozen=True)
class Tile:
    """Scores of a part of the images.

    Attributes:
        scores: Of the part.
        row: Its first row on the images.
        column: Its first column.
    """

    scores: ClassScores
    row: int
    column: int


class BlendedScores(ClassScores):
    """Scores of images (or of a part of them) that tiles of one size cover, weighted where they overlap.

    Args:
        tiles: In the order in which they are summed up.
        size: Height and width of each.
        weights: Of its pixels, (h, w).
        corner: Row and column of the images at which the part that is asked for begins.
    """

    def __init__(self, tiles: Sequence[Tile], size: Size, weights: Tensor, corner: tuple[int, int] = (0, 0)):
        self.tiles, self.size, self.weights, self.corner = tiles, size, weights, corner
        self.num_classes = tiles[0].scores.num_classes

    def __getitem__(self, images: slice) -> BlendedScores:
        tiles = [Tile(tile.scores[images], tile.row, tile.column) for tile in self.tiles]
        return BlendedScores(tiles, self.size, self.weights, self.corner)

    def groups(self, size: Size, pixels: int = 0) -> Iterator[slice]:
        return self.tiles[0].scores.groups(self.size, pixels or size[0] * size[1])

    def at(self, size: Size, classes: slice) -> Tensor:
        total = counts = None
        for tile in self.tiles:
            scores = tile.scores.at(self.size, classes)
            if total is None:
                total = scores.new_zeros((*scores.shape[:2], *size))
                counts, weights = total.new_zeros(size), self.weights.to(total.device)
                weighted = bool((weights != 1).any())
            inside, outside = self._overlap(tile, size)
            total[(..., *outside)] += (scores * weights if weighted else scores)[(..., *inside)]
            counts[outside] += weights[inside]
        return total.div_(counts)

    def _overlap(self, tile: Tile, size: Size) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """What of a tile lies in the part that is asked for: as slices of the tile, and of the part."""
        first = (tile.row - self.corner[0], tile.column - self.corner[1])
        spans = [(max(at, 0), min(at + n, most)) for at, n, most in zip(first, self.size, size, strict=True)]
        inside = tuple(slice(low - at, high - at) for at, (low, high) in zip(first, spans, strict=True))
        return inside, tuple(slice(low, high) for low, high in spans)


@dataclass(frozen=True)
class View:
    """One of several predictions of the same images.

    Attributes:
        scores: Of the images as they were given to the network.
        size: Their height and width then.
        flipped: Whether they were mirrored left to right.
    """

    scores: ClassScores
    size: Size
    flipped: bool

    def restore(self, size: Size, then: Restore | None) -> Restore:
        """Bring scores at the view's size to that of the images, then on as those are."""

        def bring(scores: Tensor) -> Tensor:
            scores = scores.flip(-1) if self.flipped else scores
            if self.size != tuple(size):
                scores = F.interpolate(scores, tuple(size), mode="bilinear", align_corners=False)
            return scores if then is None else then(scores)

        return bring


class AveragedScores(ClassScores):
    """The mean of the probabilities of several views, as MMSegmentation's ``SegTTAModel`` takes it.

    Args:
        views: Of the same images.
    """

    additive = True

    def __init__(self, views: Sequence[View]):
        self.views = views
        self.num_classes = views[0].scores.num_classes
        self._totals: tuple[Size, list[Tensor]] | None = None

    def __getitem__(self, images: slice) -> AveragedScores:
        return AveragedScores([View(view.scores[images], view.size, view.flipped) for view in self.views])

    def groups(self, size: Size, pixels: int = 0) -> Iterator[slice]:
        largest = max((*(view.size for view in self.views), size), key=lambda pair: pair[0] * pair[1])
        return self.views[0].scores.groups(largest, pixels)

    def at(self, size: Size, classes: slice) -> Tensor:
        if self._totals is None or self._totals[0] != size:  # asked for once for each group of classes
            self._totals = (size, self._all_totals(size, None))
        return self._mean(size, classes, self._totals[1], None)

    def labels(self, size: Size, restore: Restore | None = None) -> Tensor:
        totals = self._all_totals(size, restore)
        return first_largest((group, self._mean(size, group, totals, restore)) for group in self.groups(size))

    def probabilities(self, size: Size, classes: Sequence[int] | None = None, restore: Restore | None = None) -> Tensor:
        wanted = range(self.num_classes) if classes is None else classes
        totals = self._all_totals(size, restore)
        return torch.cat([self._mean(size, slice(k, k + 1), totals, restore) for k in wanted], 1)

    def _all_totals(self, size: Size, restore: Restore | None) -> list[Tensor]:
        return [view.scores.total(view.size, view.restore(size, restore)) for view in self.views]

    def _mean(self, size: Size, classes: slice, totals: Sequence[Tensor], restore: Restore | None) -> Tensor:
        mean = 0
        for view, total in zip(self.views, totals, strict=True):
            mean = mean + view.scores.shares(view.size, classes, total, view.restore(size, restore))
        return mean / len(self.views)


def predict_scores(inputs: Tensor, network: Network, settings: TileSettings) -> ClassScores:
    """Predict preprocessed images as the settings say.

    Args:
        inputs: (B, C, H, W).
        network: Gives the scores of such images, of any size.
        settings: Whole or by tiles, scales, mirror images.

    Returns:
        Scores to be asked for at the size of ``inputs``.

    Raises:
        DataError: if the images are too small for the network.
    """
    try:
        return _all_views(inputs, network, settings)
    except (RuntimeError, ValueError) as error:
        if (reason := why_too_small(error)) is None:
            raise
        height, width = inputs.shape[2:]
        raise DataError(
            f"an image that reaches the network as {width} x {height} pixels is too small for it ({reason}); enlarge "
            f"it, or pad it: train with inference.size_multiple=32, or a scale in test_pipeline"
        ) from error


def _all_views(inputs: Tensor, network: Network, settings: TileSettings) -> ClassScores:
    if not settings.augmented:
        return _one_view(inputs, network, settings)
    views = []
    for scale in settings.scales:
        size = tuple(max(round(n * scale), 1) for n in inputs.shape[2:])
        scaled = inputs if scale == 1 else F.interpolate(inputs, size, mode="bilinear", align_corners=False)
        for flipped in (False, True)[: 1 + settings.flip]:
            shown = scaled.flip(-1) if flipped else scaled
            views.append(View(_one_view(shown, network, settings), size, flipped))
    return AveragedScores(views)


def _one_view(inputs: Tensor, network: Network, settings: TileSettings) -> ClassScores:
    size = tuple(inputs.shape[2:])
    if settings.mode == "whole":
        padded = _padded(inputs, settings)
        scores, whole = network(padded), tuple(padded.shape[2:])
        return scores if whole == size else BlendedScores([Tile(scores, 0, 0)], whole, torch.ones(whole))
    tile = tile_size(size, settings)
    rows, columns = settings.origins(size)
    places = [(row, column) for row in rows for column in columns]
    return BlendedScores(predict_tiles(inputs, places, network, settings), tile, tile_weights(tile, settings.blend))


def tile_size(size: Size, settings: TileSettings) -> Size:
    """Height and width of the tiles of images: the crop, to which smaller images are padded where they are."""
    sides = (min(n, side) for n, side in zip(size, settings.crop, strict=True))
    multiple = settings.size_multiple
    return tuple(-(-n // multiple) * multiple for n in (sides if settings.blend == "mean" else settings.crop))


def predict_tiles(
    inputs: Tensor, places: Sequence[tuple[int, int]], network: Network, settings: TileSettings
) -> list[Tile]:
    """Predict tiles of images (B, C, H, W), :attr:`TileSettings.batch` at a time.

    Args:
        inputs: The images.
        places: First row and column of each tile.
        network: As for :func:`predict_scores`.
        settings: Of the tiles.
    """
    size, count = tile_size(inputs.shape[2:], settings), len(inputs)
    tiles = []
    for first in range(0, len(places), settings.batch):
        some = places[first : first + settings.batch]
        parts = [inputs[..., row : row + size[0], column : column + size[1]] for row, column in some]
        parts = [F.pad(p, (0, size[1] - p.shape[3], 0, size[0] - p.shape[2])) for p in parts]
        scores = network(torch.cat(parts) if len(parts) > 1 else parts[0])
        tiles += [Tile(scores[n * count : (n + 1) * count], *place) for n, place in enumerate(some)]
    return tiles


def _padded(inputs: Tensor, settings: TileSettings) -> Tensor:
    height, width = inputs.shape[2:]
    multiple = settings.size_multiple
    return F.pad(inputs, (0, -width % multiple, 0, -height % multiple)) if multiple > 1 else inputs
