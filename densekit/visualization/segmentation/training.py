"""Pictures of a training of a segmentor: what the network is given, and what it gives beside what there is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from densekit.structures.label_images import IGNORED
from densekit.visualization.segmentation.drawing import class_color, draw_segmentation
from densekit.visualization.shared import mosaic as shared
from densekit.visualization.shared.mosaic import CELL, bgr_picture, described_input, legend_entries, side_by_side
from densekit.visualization.shared.palette import Color
from densekit.visualization.shared.sheet import GAP

_SIZE = (420, 320)
_HEADING = 25  # pixels of the line above a picture

Colours = Sequence[Sequence[int]] | None


def training_mosaic(dataset: Any, path: str | os.PathLike, *, names: Sequence[str], colours: Colours = None) -> None:
    """Write a picture of what the network is given, see :func:`densekit.visualization.shared.mosaic.training_mosaic`.

    Args:
        dataset: The training's data set. An item is ``{"inputs": (C, H, W), "data_samples": SegDataSample}`` with
            ``gt_sem_seg``.
        path: The PNG file to write.
        names: Class names.
        colours: As for :func:`~densekit.visualization.segmentation.drawing.draw_segmentation`.
    """
    tile = partial(_training_tile, names=names, colours=colours)
    shared.training_mosaic(dataset, path, tile, names=names, colors=_colors(names, colours))


def _training_tile(
    item: dict[str, Any], names: Sequence[str], colours: Colours
) -> tuple[Image.Image, list[str], set[int]]:
    inputs, labels = item["inputs"], item["data_samples"].gt_sem_seg.data.squeeze(0).numpy().astype(np.uint8)
    image = bgr_picture(inputs if inputs.shape[0] == 3 else inputs[:1].expand(3, -1, -1))
    tile = draw_segmentation(image, labels, names, colours, size=CELL)
    ignored = float((labels == IGNORED).mean())
    share = f"{ignored:.0%}" if ignored >= 0.01 else "< 1%"
    words = f"{share} without a class" if ignored else "all pixels have a class"
    return tile, [*described_input(item, image.size), words], _there(labels)


def prediction_beside_truth(
    image: Image.Image, found: np.ndarray, truth: np.ndarray, names: Sequence[str], colours: Colours = None
) -> Image.Image:
    """Return an image with what was predicted, beside it with what there is.

    Args:
        image: In RGB.
        found: ``(H, W)`` uint8.
        truth: As ``found``.
        names: Class names.
        colours: As for :func:`~densekit.visualization.segmentation.drawing.draw_segmentation`.
    """
    known = truth != IGNORED
    right = float((found == truth)[known].mean()) if known.any() else float("nan")
    pictures = [draw_segmentation(image, labels, names, colours, size=_SIZE) for labels in (found, truth)]
    return side_by_side(*pictures, (f"prediction: {right:.0%} of the pixels right", "truth"))


def sheet_of(
    tiles: Mapping[str, Image.Image],
    *,
    title: str,
    labels: Iterable[int],
    names: Sequence[str],
    colours: Colours = None,
) -> Image.Image:
    """Return pictures of :func:`prediction_beside_truth` on one sheet, each with its name above, and a legend."""
    return shared.mosaic(
        list(tiles.values()),
        [[name] for name in tiles],
        title=title,
        columns=1 if len(tiles) < 3 else 2,
        cell=(2 * _SIZE[0] + GAP, _SIZE[1] + _HEADING),
        entries=legend_entries(set(labels) - {IGNORED}, names),
        colors=_colors(names, colours),
    )


def _colors(names: Sequence[str], colours: Colours) -> dict[int, Color]:
    """The colours of a legend by label value."""
    return {label + 1: class_color(label, colours) for label in range(len(names))}


def _there(labels: np.ndarray) -> set[int]:
    return {int(label) for label in np.unique(labels)} - {IGNORED}
