"""The same image twice: byte for byte over any number of files, and by its looks where there are not too many."""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from densekit.datasets.shared.image_files import Header
from densekit.datasets.shared.splits import SPLITS
from densekit.errors import DataError
from densekit.io.images import is_deep, load_image
from densekit.progress import told

SIDE = 32
HASH, FLIPPED = 12, 10
"""Bytes that stand for how an image looks, and how many of their bits may differ. Of 180 photographs and micrographs
saved anew at most 10 did, of different ones at least 28."""
_COSINES = np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(10), 2 * np.arange(SIDE) + 1)).astype(np.float32)
ALIKE = 0.98
PIXELS = 2_000_000_000
"""Pixels of all images together up to which they are compared by their looks (about 6,500 of 640 x 480)."""


def same_files(paths: Sequence[str], headers: Sequence[Header | None]) -> Iterator[list[int]]:
    """Return groups of images whose files have the same content, as indices.

    Files of the same size with the same last 4096 bytes are read in full and compared by their hash.

    Args:
        paths: The image files; one may be there twice.
        headers: What they say; None for one that is missing.
    """
    candidates: dict[tuple, list[int]] = defaultdict(list)
    for index, header in enumerate(headers):
        if header is not None and not header.problem:
            candidates[header.size, header.tail].append(index)
    for group in candidates.values():
        if len(group) < 2:
            continue
        same: dict[bytes, list[int]] = defaultdict(list)
        digests: dict[str, bytes] = {}  # one file may be in two splits
        for index in group:
            path = paths[index]
            if path not in digests:
                digests[path] = _hash(path)
            same[digests[path]].append(index)
        yield from (indices for digest, indices in same.items() if len(indices) > 1 and digest)


def _hash(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.blake2b(file.read(), digest_size=16).digest()
    except OSError:
        return b""  # gone or locked since its header was read


def similar_pairs(
    paths: Sequence[str], headers: Sequence[Header | None], splits: Sequence[str], skip: set[int]
) -> Iterator[tuple[int, int, float]] | None:
    """Return pairs of images in two splits that look the same, with the correlation of their thumbnails.

    Thumbnails are 32 x 32 grey values; their correlation does not change with size, brightness, contrast or
    compression.

    Args:
        paths: The image files.
        headers: What they say; None for one that is missing.
        splits: The split that each is in.
        skip: Images that are known to be there twice already.

    Returns:
        Pairs of indices; None if there are more pixels than :data:`PIXELS` and nothing was compared.
    """
    usable = [i for i, h in enumerate(headers) if h is not None and not h.problem and i not in skip]
    if sum(headers[i].width * headers[i].height for i in usable) > PIXELS:
        return None
    members: dict[str, list[int]] = {split: [] for split in SPLITS}
    for i in usable:
        members[splits[i]].append(i)
    if sum(map(bool, members.values())) < 2:
        return iter(())
    return _pairs(list(members.values()), _thumbnails(paths, usable))


def alike(paths: Sequence[str], headers: Sequence[Header | None]) -> Iterator[tuple[int, int]]:
    """Return pairs of images that look the same, wherever they are; none beyond :data:`PIXELS`.

    Args:
        paths: The image files.
        headers: What they say; None for one that is missing.
    """
    usable = [i for i, h in enumerate(headers) if h is not None and not h.problem]
    if sum(headers[i].width * headers[i].height for i in usable) <= PIXELS:
        found = _thumbnails(paths, usable)
        rows = [i for i in usable if found[i] is not None]
        yield from ((one, other) for one, other, _ in _correlated(rows, rows, found) if one < other)


def _thumbnails(paths: Sequence[str], usable: Sequence[int]) -> dict[int, np.ndarray | None]:
    with ThreadPoolExecutor(4) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        found = told(pool.map(_thumbnail, (paths[i] for i in usable)), len(usable), "images compared by their looks")
        return dict(zip(usable, found, strict=True))


def look_alike(one: str, other: str) -> bool:
    """Whether two image files show the same, by their thumbnails."""
    first, second = _thumbnail(one), _thumbnail(other)
    return first is not None and second is not None and float(first @ second) > ALIKE


def look_hash(path: str | Path) -> bytes | None:
    """Return 12 bytes that stand for how an image looks: the signs of the lowest frequencies of its thumbnail.

    Saved anew in another format, quality, size or brightness it differs in a few bits, see :func:`near`. None where
    :func:`_thumbnail` gives none.
    """
    thumbnail = _thumbnail(str(path))
    if thumbnail is None:
        return None
    frequencies = _COSINES @ thumbnail.reshape(SIDE, SIDE) @ _COSINES.T
    return np.packbits(frequencies.ravel()[1 : 8 * HASH + 1] > 0).tobytes()


def near(one: Sequence[bytes], other: Sequence[bytes]) -> np.ndarray:
    """Return which of some hashes of :func:`look_hash` are those of an image in ``other`` too, bool ``(N,)``."""
    signs = [2 * np.unpackbits(np.frombuffer(b"".join(h), np.uint8)).reshape(-1, 8 * HASH).astype(np.float32) - 1
             for h in (one, other)]  # fmt: skip
    agree = 8 * HASH - 2 * FLIPPED
    found = [(signs[0][i : i + 64] @ signs[1].T).max(axis=1, initial=-np.inf) >= agree for i in range(0, len(one), 64)]
    return np.concatenate([np.zeros(0, dtype=bool), *found])


def _pairs(groups: Sequence[list[int]], thumbnails: dict[int, np.ndarray | None]) -> Iterator[tuple[int, int, float]]:
    for one, other in combinations(groups, 2):
        rows = [i for i in one if thumbnails[i] is not None]
        columns = [i for i in other if thumbnails[i] is not None]
        yield from _correlated(rows, columns, thumbnails)


def _correlated(
    rows: Sequence[int], columns: Sequence[int], thumbnails: dict[int, np.ndarray | None]
) -> Iterator[tuple[int, int, float]]:
    if not rows or not columns:
        return
    right = np.stack([thumbnails[i] for i in columns])
    for start in range(0, len(rows), 512):
        chunk = rows[start : start + 512]
        correlation = np.stack([thumbnails[i] for i in chunk]) @ right.T
        for r, c in zip(*np.nonzero(correlation > ALIKE), strict=True):
            yield chunk[r], columns[c], float(correlation[r, c])


def _thumbnail(path: str) -> np.ndarray | None:
    """Return the normalised thumbnail, None for an image of one grey value or one that cannot be decoded."""
    try:
        with Image.open(path) as image:
            if is_deep(image):
                image = load_image(Path(path)).rgb()
            image.draft("L", (2 * SIDE, 2 * SIDE))  # a JPEG is decoded at an eighth of its size
            small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2)
            values = np.asarray(small, dtype=np.float32).ravel()
    except (OSError, ValueError, SyntaxError, DataError, Image.DecompressionBombError):
        return None
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > SIDE else None  # a spread of one grey value is noise
