"""Looking at every mask once: which values it has, how often; coloured and drawn ones are turned into index masks."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from densekit.datasets.segmentation.colours import ColourTable, colours_in
from densekit.datasets.segmentation.draft import Draft, DraftPair
from densekit.datasets.segmentation.masks import read_mask
from densekit.errors import DataError
from densekit.io.atomic import output_error
from densekit.progress import told

_WORKERS = min(8, 2 * (os.cpu_count() or 1))


@dataclass
class Measured:
    """What a mask holds.

    Attributes:
        values: Pixels of each value.
        size: Width and height; zeros if it cannot be read.
        file: The index mask that was made of it; "" if it is one.
        coloured: Pixels of each colour that no value stands for.
        overlaps: Whether annotations cover one another.
        problem: Why it cannot be read, or "".
    """

    values: dict[int, int] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    file: str = ""
    coloured: dict[tuple[int, int, int], int] = field(default_factory=dict)
    overlaps: bool = False
    problem: str = ""


def measure(
    draft: Draft, root: Path, sizes: Sequence[tuple[int, int]], table: ColourTable | None, folder: Path
) -> list[Measured]:
    """Read all masks in threads.

    Args:
        draft: The pairs.
        root: Folder that they are relative to.
        sizes: Width and height of each image.
        table: Makes values of colours; None: masks are index masks.
        folder: Where index masks that are made are written.

    Raises:
        OutputError: if they cannot be written.
    """
    if draft.draw is not None:
        one: Callable[[DraftPair, tuple[int, int], Path], Measured] = _Drawn(draft)
    else:
        one = _Read(root, table)

    def job(numbered: tuple[int, DraftPair]) -> Measured:
        number, pair = numbered
        try:
            return one(pair, sizes[number], folder / f"{number:06d}.png")
        except DataError as error:
            return Measured(problem=str(error).removeprefix(f"{root / pair.mask}: "))

    if draft.draw is not None or table is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(folder, error) from error
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(told(pool.map(job, enumerate(draft.pairs)), len(draft.pairs), "masks read"))


class _Drawn:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def __call__(self, pair: DraftPair, size: tuple[int, int], out: Path) -> Measured:
        values, overlaps = self.draft.draw(pair, *size)
        _write(values, out)
        return Measured(_counts(values), size, str(out), overlaps=overlaps)


class _Read:
    def __init__(self, root: Path, table: ColourTable | None) -> None:
        self.root, self.table = root, table

    def __call__(self, pair: DraftPair, size: tuple[int, int], out: Path) -> Measured:
        mask = read_mask(self.root / pair.mask)
        shape = mask.values.shape[1], mask.values.shape[0]
        if self.table is not None:
            values, unknown = self.table.labels(mask.colours())
            if not unknown:
                _write(values, out)
            return Measured(_counts(values), shape, str(out), unknown)
        if mask.values.ndim == 3:
            return Measured(size=shape, coloured=colours_in(mask.values))
        return Measured(_counts(mask.values), shape)


def _counts(values: np.ndarray) -> dict[int, int]:
    counts = np.bincount(values.ravel())
    there = np.flatnonzero(counts)
    return dict(zip(there.tolist(), counts[there].tolist(), strict=True))


def _write(values: np.ndarray, path: Path) -> None:
    """Write by rename; without waiting for the disk, since what is kept of the data set is written after all masks."""
    part = path.with_name(f".{secrets.token_hex(4)}{path.name}")
    try:
        Image.fromarray(values).save(part, "PNG", compress_level=1)
        part.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
