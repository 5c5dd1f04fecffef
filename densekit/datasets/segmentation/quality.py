"""What is worth a look in label images that can be read: leaks, classes, sizes, masks off their image, thin objects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from densekit.datasets.segmentation.alignment import LONGEST, Alignment, find_alignment
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.segmentation.prepared import Pair, PreparedSegmentation
from densekit.datasets.segmentation.thin import THIN, Thin, find_thin, training_scale
from densekit.datasets.shared.image_files import read_headers
from densekit.datasets.shared.leaks import find_leaks
from densekit.datasets.shared.small_images import open_small
from densekit.errors import DataError
from densekit.progress import told
from densekit.structures.findings import Example

LOOKED_AT = 300
"""Images, at most, whose masks are compared with them, and searched for what is thin; spread evenly."""
RARE = 0.001
FEW_IMAGES = 5
THIN_SHARE = 0.1
"""Of the pixels of a class in thin parts from which on it is told."""
SPECKS, SPECK_SHARE = 100, 0.5
"""Areas of a class from which on, and share of them, that are specks."""
OFF, OFF_SHARE = 3, 0.05
"""Masks that lie elsewhere, and their share of those that could be judged, from which on it is no accident."""
AGREE, SAME = 0.6, 2
"""Share of those that lie elsewhere that must be turned, or shifted alike: within so many pixels."""
SHRUNK, ENLARGED = 0.25, 2.0
_WORKERS = 4


class Member(NamedTuple):
    """An image of a data set: its split, its pair, and its name below the data set's folder."""

    split: str
    pair: Pair
    name: str


@dataclass(frozen=True)
class Look:
    """What was seen in some of the images.

    Attributes:
        judged: Images of which it could be said whether their mask lies on them.
        likely: By path of an image whose mask lies elsewhere: where it fits.
    """

    judged: int
    likely: Mapping[str, Alignment]


def members(data: PreparedSegmentation) -> list[Member]:
    """Return the images of all splits."""
    root = data.root
    return [
        Member(split, pair, os.path.relpath(pair.image, root).replace(os.sep, "/"))
        for split, pairs in data.splits.items()
        for pair in pairs
    ]


def check_quality(
    data: PreparedSegmentation, findings: Findings, *, input_size: tuple[int, int], crop: tuple[int, int]
) -> Look:
    """Add what is worth a look to ``findings``.

    Args:
        data: The data set.
        findings: Collects.
        input_size: Longer and shorter side in pixels that images are resized into for training.
        crop: Width and height in pixels of what is cut out of them then.
    """
    images = members(data)
    paths = [image.pair.image for image in images]
    headers = read_headers(paths)
    find_leaks(findings, paths, headers, [(image.split, image.name) for image in images])
    kinds: dict[str, list[int]] = {}
    for n, header in enumerate(headers):
        kinds.setdefault(header.mode or "of many channels", []).append(n) if header and not header.problem else None
    if len(kinds) > 1:
        by_size = sorted(kinds.items(), key=lambda item: -len(item[1]))
        words = "images of different kinds (Pillow's modes): " + ", ".join(f"{len(n)} {kind}" for kind, n in by_size)
        rest = [n for _, places in by_size[1:] for n in places]
        findings.rows("image-modes", rest, lambda n: f"{images[n].name}: {headers[n].mode}", words)
    _classes(data, findings)
    _sizes(images, findings, input_size, crop)
    return _look(data, images, findings, input_size)


def _classes(data: PreparedSegmentation, findings: Findings) -> None:
    """Find classes that cannot be learned or scored, and rare ones."""
    if data.splits and "train" not in data.splits:
        words = f"holds only {' and '.join(data.splits)}: it can be scored, not trained on"
        findings.add("only-scored", count=1, message=words)
        return
    sums = {split: pixels[:, :-1].sum(axis=0) for split, pixels in data.pixels.items()}
    total, train = sum(sums.values()), sums.get("train")
    if train is None or not train.any():
        return
    images = (data.pixels["train"][:, :-1] > 0).sum(axis=0)
    share = train / train.sum()
    absent = np.flatnonzero((train == 0) & (total > 0))
    findings.rows("class-not-in-train", absent, lambda n: data.classes[n])
    if "val" in sums:
        findings.rows("class-not-in-val", np.flatnonzero((sums["val"] == 0) & (train > 0)), lambda n: data.classes[n])
    few = np.flatnonzero((images > 0) & (images < FEW_IMAGES))
    few = few[np.argsort(images[few], kind="stable")] if len(data.pixels["train"]) >= FEW_IMAGES else ()
    findings.rows("class-few-images", few, lambda n: f"{data.classes[n]}: {images[n]}")
    rare = np.flatnonzero((train > 0) & (share < RARE))
    rare = rare[np.argsort(share[rare], kind="stable")]
    findings.rows("class-rare", rare, lambda n: f"{data.classes[n]}: {100 * share[n]:.2g} %")


def _sizes(images: list[Member], findings: Findings, input_size: tuple[int, int], crop: tuple[int, int]) -> None:
    """Compare the sizes of images with what the training makes of them."""
    sizes = np.array([image.pair.size for image in images], np.float64).reshape(-1, 2)
    scales = np.array([training_scale(image.pair.size, input_size) for image in images])
    into = f"fitted into {max(input_size)} x {min(input_size)}"

    def place(n: int) -> Example:
        width, height = images[n].pair.size
        return Example(f"{images[n].name}: {width} x {height}, x {scales[n]:.2g}", images[n].pair.image)

    worst = np.argsort(scales, kind="stable")
    words = f"images that are made more than {1 / SHRUNK:g} times smaller for training ({into})"
    findings.rows("image-shrunk", [n for n in worst if scales[n] < SHRUNK], place, words)
    words = f"images that are made more than twice as large for training ({into})"
    findings.rows("image-enlarged", [n for n in worst[::-1] if scales[n] > ENLARGED], place, words)
    below = np.flatnonzero((np.rint(sizes * scales[:, None]) < np.array(crop)).any(axis=1))
    words = f"images that do not fill a crop of {crop[0]} x {crop[1]}, {into}; the rest is padded and ignored"
    findings.rows("image-below-crop", below, place, words)


def _look(data: PreparedSegmentation, images: list[Member], findings: Findings, input_size: tuple[int, int]) -> Look:
    """Look into images, a sample of very many: do masks lie on them, and is something thin?"""
    places = np.unique(np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).round().astype(int))
    looked = [images[n] for n in places]
    number = len(data.classes)

    def look(image: Member) -> tuple[Alignment | None, Thin, np.ndarray] | None:
        try:
            labels = data.read_labels(image.pair)
        except DataError:
            return None  # said by reading
        thin = find_thin(labels, number, training_scale(image.pair.size, input_size))
        counts = np.bincount(labels.ravel(), minlength=256)[:number]
        pixels = _pixels(data, Path(image.pair.image))
        if pixels is None:
            return None, thin, counts
        small = cv2.resize(labels, pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return find_alignment(pixels, small), thin, counts

    with ThreadPoolExecutor(_WORKERS) as pool:
        seen = zip(looked, told(pool.map(look, looked), len(looked), "masks compared with their images"), strict=True)
        found = [(image, *result) for image, result in seen if result is not None]
    sample = f" (a sample of {len(looked)} of {len(images)} images)" if len(looked) < len(images) else ""
    _thin(data, findings, [(image, thin, counts) for image, _, thin, counts in found], input_size, sample)
    alignments = [(image, alignment) for image, alignment, *_ in found if alignment is not None]
    return _off(findings, alignments, sample)


def _pixels(data: PreparedSegmentation, path: Path) -> np.ndarray | None:
    """An image of any number of channels made small, ``(H, W, C)`` from 0 to 255; None if it cannot be read."""
    if data.channels == 3:
        return open_small(path, LONGEST)
    from densekit.datasets.shared.image_loading import read_image  # takes seconds: it imports MMCV

    try:
        pixels = read_image(path, data.ranges, data.channels)
    except DataError:
        return None
    scale = min(1, LONGEST / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small.reshape(*small.shape[:2], data.channels)


def _off(findings: Findings, alignments: list[tuple[Member, Alignment]], sample: str) -> Look:
    """Tell which masks lie elsewhere than on their image.

    An export that goes wrong does the same to many. Masks drawn too wide or too narrow fit better if they are moved,
    too, each to another side: these are doubtful.
    """
    off = [(image, alignment) for image, alignment in alignments if alignment.is_off]
    shifts = np.array([alignment.shift for _, alignment in off]).reshape(-1, 2)
    turned = np.array([bool(alignment.turn) for _, alignment in off], bool)
    near = (np.abs(shifts[:, None] - shifts).max(axis=2) <= SAME) & ~turned & ~turned[:, None]
    alike = turned | (near[near.sum(axis=1).argmax()] if len(off) else turned)
    clear = alike.sum() >= max(OFF, OFF_SHARE * len(alignments), AGREE * len(off))
    words = f"masks do not lie on their image, of {len(alignments)} that can be judged{sample}"

    def place(n: int) -> Example:
        image, alignment = off[n]
        return Example(f"{image.name}: it fits if {_done(image, alignment)}", image.pair.image)

    findings.rows("mask-shifted", np.flatnonzero(alike) if clear else (), place, words)
    findings.rows("mask-doubtful", np.flatnonzero(~alike) if clear else range(len(off)), place)
    return Look(len(alignments), {image.pair.image: alignment for image, alignment in off})


def _done(image: Member, alignment: Alignment) -> str:
    """What is to be done to a mask, in words and in pixels of the image."""
    scale = max(1, max(image.pair.size) / LONGEST)
    x, y = (round(scale * side) for side in alignment.shift)
    moved = [f"{abs(v)} px {names[v > 0]}" for v, names in ((x, ("left", "right")), (y, ("up", "down"))) if v]
    if alignment.turn and max(abs(x), abs(y)) <= 2 * scale:
        moved = []
    return " and ".join([alignment.turn] * bool(alignment.turn) + ([f"moved {' and '.join(moved)}"] if moved else []))


def _thin(
    data: PreparedSegmentation,
    findings: Findings,
    seen: list[tuple[Member, Thin, np.ndarray]],
    input_size: tuple[int, int],
    sample: str,
) -> None:
    """Tell which classes vanish largely, and which are specks by number."""
    if not seen:
        return
    pixels, objects, vanishing = (
        np.sum([getattr(thin, key) for _, thin, _ in seen], axis=0) for key in ("pixels", "objects", "vanishing")
    )
    share = pixels / np.maximum(np.sum([counts for *_, counts in seen], axis=0), 1)
    at = f"fitted into {max(input_size)} x {min(input_size)}{sample}"

    def places(label: int) -> Iterator[Example]:
        words = f"{data.classes[label]}: {share[label]:.0%} of its pixels, {vanishing[label]} of {objects[label]} areas"
        ranked = sorted((item for item in seen if label in item[1].boxes), key=lambda item: -item[1].pixels[label])
        for image, thin, _ in ranked[:1]:
            yield Example(f"{words}, e.g. {image.name}", image.pair.image, (thin.boxes[label],))
        if not ranked:
            yield Example(words)

    vanish = np.flatnonzero(share > THIN_SHARE)
    vanish = vanish[np.argsort(-share[vanish], kind="stable")]
    words = f"classes of which more than {THIN_SHARE:.0%} is narrower than {THIN:g} pixels in images {at}"
    findings.rows("thin-objects", vanish, lambda n: next(places(n)), words)
    specks = np.flatnonzero((objects >= SPECKS) & (vanishing > SPECK_SHARE * objects) & (share <= THIN_SHARE))
    findings.rows("specks", specks, lambda n: next(places(n)))
