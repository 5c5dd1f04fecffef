"""Pictures with detected or annotated objects: boxes, masks, names and scores, alone, in pairs and in mosaics."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from densekit.errors import DataError
from densekit.random_state import random_state_kept
from densekit.visualization.detection.objects import draw_detections
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

_CELL = (440, 330)

__all__ = ["box_array", "draw_detections", "legend_entries", "mask_list", "mosaic", "side_by_side", "training_mosaic"]


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
        picture = fitting(picture, size) if size else picture
        blocks.append(below([text_block([(one_line(title), SMALL - 2, FAINT)], picture.width), picture], gap=0))
    return beside(blocks)


def mosaic(
    tiles: Sequence[Image.Image],
    captions: Sequence[Sequence[str]] = (),
    *,
    title: str = "",
    columns: int | None = None,
    cell: tuple[int, int] = _CELL,
    entries: Sequence[tuple[int, str]] = (),
) -> Image.Image:
    """Return pictures in rows and columns.

    Args:
        tiles: RGB, of any sizes; larger ones than ``cell`` are scaled down.
        captions: For each picture the lines above it; () for none.
        title: Heading.
        columns: How many pictures stand in a row; None: about as many as there are rows.
        cell: Width and height of a picture, at most.
        entries: Label values and names for a legend below.

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
    footer = [legend(entries, width)] if entries else []
    return below([*heading, *rows, *footer], gap=2 * GAP)


def legend_entries(labels: Iterable[int], names: Sequence[str]) -> list[tuple[int, str]]:
    """Return what :func:`mosaic` writes below pictures with these labels; nothing if there is one class only."""
    if len(names) < 2:
        return []
    return [(label + 1, names[label]) for label in sorted(set(labels)) if label < len(names)]


def training_mosaic(dataset: Any, path: str | os.PathLike, *, names: Sequence[str], images: int = 16) -> None:
    """Write a picture of what the network is given: images after all transforms, with the objects asked for.

    The images are spread evenly over the data set. Regions to ignore are grey and hatched. What a run draws from random
    generators afterwards is the same as without this picture; and the picture is the same every time.

    Args:
        dataset: The training's data set. An item is ``{"inputs": uint8 (3, H, W) in BGR, "data_samples":
            DetDataSample}`` with ``gt_instances`` and ``ignored_instances`` in pixels of ``inputs``.
        path: The PNG file to write.
        names: Class names.
        images: How many to show, at most.

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
            tile, caption, shown = _training_tile(dataset[index], names)
            tiles.append(tile)
            captions.append(caption)
            labels |= shown
    title = f"What the network is given: {len(tiles)} of {count} training images, after augmentation"
    save_sheet(path, mosaic(tiles, captions, title=title, entries=legend_entries(labels, names)))


def _training_tile(item: dict[str, Any], names: Sequence[str]) -> tuple[Image.Image, list[str], set[int]]:
    """Return a picture of an item, the lines above it, and the labels in it."""
    pixels, sample = item["inputs"], item["data_samples"]
    pixels = np.clip(pixels.numpy(), 0, 255).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0)))  # BGR, channels first
    objects = [sample.gt_instances]
    if "ignored_instances" in sample:
        objects.append(sample.ignored_instances)
    boxes = np.concatenate([box_array(part.bboxes) for part in objects])
    labels = [int(label) for part in objects for label in part.labels]
    masks = [mask for part in objects for mask in mask_list(part)]
    ignored = np.arange(len(boxes)) >= len(objects[0])
    tile = draw_detections(image, boxes, labels, None, masks, names, size=_CELL, ignored=ignored)
    count, away = int((~ignored).sum()), int(ignored.sum())
    words = f"{count} object{'s' * (count != 1)}" if count else "no objects"
    if away:
        words += f", {away} to ignore"
    original = sample.metainfo.get("ori_shape")
    size = f"{image.width} × {image.height} px"
    if original is not None and tuple(original[:2]) != (image.height, image.width):
        size = f"{original[1]} × {original[0]} → {size}"
    if sample.metainfo.get("flip"):
        size += ", flipped"
    name = str(sample.metainfo.get("img_path", "")).rpartition("/")[2]
    return tile, [name, size, words], {label for label, gone in zip(labels, ignored, strict=True) if not gone}


def box_array(boxes: Any) -> np.ndarray:
    """Return ``x1, y1, x2, y2`` of MMDetection's boxes or of a tensor, float64 ``(N, 4)``."""
    tensor = getattr(boxes, "tensor", boxes)
    return np.asarray(tensor.detach().cpu(), dtype=np.float64).reshape(-1, 4)


def mask_list(objects: Any) -> list[Any]:
    """Return the masks of MMDetection's instances as :func:`draw_detections` takes them, None for each without any.

    Args:
        objects: With ``bboxes`` and maybe ``masks``: bitmaps or polygons of MMDetection, a tensor ``(N, H, W)``, or run
            lengths.
    """
    if "masks" not in objects:
        return [None] * len(objects)
    masks = objects.masks
    masks = getattr(masks, "masks", masks)  # MMDetection's BitmapMasks and PolygonMasks
    return list(masks.detach().cpu().numpy() if hasattr(masks, "detach") else masks)


def _seed(number: int) -> None:
    import torch

    random.seed(number)
    np.random.seed(number)
    torch.random.default_generator.manual_seed(number)
