"""Pictures in pairs and in mosaics, with titles, captions and a legend; what a training's images look like."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from densekit.errors import DataError
from densekit.random_state import random_state_kept
from densekit.visualization.shared.palette import Color
from densekit.visualization.shared.sheet import (
    BACKGROUND,
    FAINT,
    GAP,
    LARGE,
    SMALL,
    TEXT,
    below,
    beside,
    fitting,
    legend,
    one_line,
    save_sheet,
    text_block,
)

CELL = (440, 330)
"""Width and height of a picture, at most, in pixels."""


def side_by_side(
    left: Image.Image,
    right: Image.Image,
    titles: Sequence[str],
    *,
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """Return two pictures beside each other, with a title above each.

    Args:
        left: RGB.
        right: RGB.
        titles: Two.
        size: Width and height of each picture, at most. None: as they are.
    """
    blocks = []
    for picture, title in zip((left, right), titles, strict=True):
        blocks.append(titled(fitting(picture, size) if size else picture, title))
    return beside(blocks)


def titled(picture: Image.Image, title: str) -> Image.Image:
    """Return a picture with a title above it."""
    return below([text_block([(one_line(title), SMALL - 2, FAINT)], picture.width), picture], gap=0)


def mosaic(
    tiles: Sequence[Image.Image],
    captions: Sequence[Sequence[str]] = (),
    *,
    title: str = "",
    columns: int | None = None,
    cell: tuple[int, int] = CELL,
    entries: Sequence[tuple[int, str]] = (),
    colors: Mapping[int, Color] | None = None,
) -> Image.Image:
    """Return pictures in rows and columns.

    Args:
        tiles: RGB, of any sizes; larger ones than ``cell`` are scaled down.
        captions: For each picture the lines above it; () for none.
        title: Heading.
        columns: How many pictures stand in a row; None: about as many as there are rows.
        cell: Width and height of a picture, at most.
        entries: Label values and names for a legend below.
        colors: Of the legend, by label value, with the outlines of areas; None: the palette's.

    Raises:
        ValueError: if there are no pictures, or not one caption for each.
    """
    if not tiles:
        raise ValueError("a mosaic shows one picture or more, got none")
    if captions and len(captions) != len(tiles):
        raise ValueError(f"{len(tiles)} pictures have {len(captions)} captions: give one for each, or none at all")
    columns = columns or min(max(1, int(np.ceil(np.sqrt(len(tiles))))), len(tiles))
    lines = max((len(caption) for caption in captions), default=0)
    blocks = []
    for i, tile in enumerate(tiles):
        block = fitting(tile, cell, largest=1.0)
        if captions:
            words = [(one_line(text), SMALL - 2, TEXT if k == 0 else FAINT) for k, text in enumerate(captions[i])]
            words += [("", SMALL - 2, TEXT)] * (lines - len(words))
            block = below([text_block(words, cell[0]), block], gap=0)
        canvas = Image.new("RGB", (cell[0], block.height), BACKGROUND)
        canvas.paste(block, (0, 0))
        blocks.append(canvas)
    rows = [beside(blocks[i : i + columns]) for i in range(0, len(blocks), columns)]
    width = cell[0] * columns + GAP * (columns - 1)
    heading = [text_block([(one_line(title), LARGE, TEXT)], width)] if title else []
    footer = [legend(entries, width, outlines=colors is not None, colors=colors)] if entries else []
    return below([*heading, *rows, *footer], gap=2 * GAP)


def legend_entries(labels: Iterable[int], names: Sequence[str]) -> list[tuple[int, str]]:
    """Return what :func:`mosaic` writes below pictures with these labels; nothing if there is one class only."""
    if len(names) < 2:
        return []
    return [(label + 1, names[label]) for label in sorted(set(labels)) if label < len(names)]


def training_mosaic(
    dataset: Any,
    path: str | os.PathLike,
    tile: Callable[[dict[str, Any]], tuple[Image.Image, list[str], set[int]]],
    *,
    names: Sequence[str],
    images: int = 16,
    colors: Mapping[int, Color] | None = None,
) -> None:
    """Write a picture of what the network is given: images after all transforms, with what is asked for drawn.

    The images are spread evenly over the data set. What a run draws from random generators afterwards is the same as
    without this picture; and the picture is the same every time.

    Args:
        dataset: The training's data set.
        path: The PNG file to write.
        tile: Makes of an item a picture, the lines above it, and the labels in it.
        names: Class names.
        images: How many to show, at most.
        colors: As for :func:`mosaic`.

    Raises:
        DataError: if the data set is empty, or an image cannot be read.
        OutputError: if the file cannot be written.
    """
    count = len(dataset) // getattr(dataset, "repeat", 1)  # the same images over again are not of interest
    if not count:
        raise DataError(f"{path}: the training data hold no image to show; check the data with densekit check")
    indices = np.unique(np.linspace(0, count - 1, min(images, count)).round().astype(int)).tolist()
    tiles, captions, labels = [], [], set()
    with random_state_kept():
        for index in indices:
            _seed(index)  # a data set that seeds itself overrides this
            picture, caption, shown = tile(dataset[index])
            tiles.append(picture)
            captions.append(caption)
            labels |= shown
    title = f"What the network is given: {len(tiles)} of {count} training images, after augmentation"
    save_sheet(path, mosaic(tiles, captions, title=title, entries=legend_entries(labels, names), colors=colors))


def described_input(item: dict[str, Any], size: tuple[int, int]) -> list[str]:
    """Return the lines above an item: the name of its file; its size, and how it got it.

    Args:
        item: With ``data_samples``, which says where it comes from.
        size: Its width and height.
    """
    about = item["data_samples"].metainfo
    original, words = about.get("ori_shape"), f"{size[0]} × {size[1]} px"
    if original is not None and tuple(original[:2]) != size[::-1]:
        words = f"{original[1]} × {original[0]} → {words}"
    if about.get("flip"):
        words += ", flipped"
    return [str(about.get("img_path", "")).rpartition("/")[2], words]


def bgr_picture(inputs: Any) -> Image.Image:
    """Return the picture of a tensor ``(3, H, W)`` in BGR."""
    pixels = np.clip(inputs.numpy(), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0)))


def _seed(number: int) -> None:
    import torch

    random.seed(number)
    np.random.seed(number)
    torch.random.default_generator.manual_seed(number)
