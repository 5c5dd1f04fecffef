"""Which images train and which validate: from names, from a CSV beside the data, or drawn."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from densekit.datasets.shared.splits import VALIDATION_SHARE, read_rows
from densekit.errors import DataError

_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "minival"), "val"),
    **dict.fromkeys(("test", "testing", "heldout", "holdout"), "test"),
}
_TABLES = ("splits.csv", "splits_suggested.csv", "split.csv")
COLUMNS = ("image", "image_id", "file_name", "filename", "file", "case", "id", "name")
"""Columns of a table that name the image of a line."""


@lru_cache(maxsize=65536)
def split_of(name: str) -> str | None:
    """Return the split that a file or folder name speaks of (``"instances_train2017"`` -> ``"train"``), None if none.

    Of a path, the last part that speaks of one counts. A part that speaks of two is not understood.
    """
    for part in reversed(name.replace("\\", "/").split("/")):
        words = re.findall("[a-z]+", part.lower().replace("held_out", "heldout").replace("held-out", "heldout"))
        found = {_WORDS[word] for word in words if word in _WORDS}
        if len(found) == 1:
            return found.pop()
    return None


def find_table(root: Path) -> Path | None:
    """Return the CSV of splits in ``root``, None if there is none."""
    return next((root / name for name in _TABLES if (root / name).is_file()), None)


def read_table(root: Path) -> tuple[Path, dict[str, str]] | None:
    """Read the CSV of splits in ``root``: a column with the image (file name, stem or id) and a column ``split``.

    Returns:
        The file, and the split by what it calls the images; None if there is no such file.

    Raises:
        DataError: if the file is there but cannot be read, or not be understood (with the line).
    """
    path = find_table(root)
    if path is None:
        return None
    table: dict[str, str] = {}
    header, rows = read_rows(path)
    column = next((name for name in COLUMNS if name in header), None)
    if column is None or "split" not in header:
        raise DataError(
            f"{path}, line 1: the header is {', '.join(header) or 'empty'}; expected a column split and one of "
            f"{', '.join(COLUMNS)}"
        )
    for number, row in rows:
        image, split = (row[column] or "").strip(), (row["split"] or "").strip()
        if not image:
            continue
        if split_of(split) is None:
            raise DataError(f"{path}, line {number}: split {split!r}; expected train, val or test")
        if table.setdefault(image, split_of(split)) != split_of(split):
            raise DataError(f"{path}, line {number}: {image} is in two splits; keep one line per image")
    return path, table


def look_up(file: str, table: dict[str, str]) -> str | None:
    """Return the split of an image: by one of its :func:`names_of`."""
    return next((table[name] for name in names_of(file) if name in table), None)


def names_of(file: str) -> tuple[str, ...]:
    """Return what a table may call an image: its path, its name, its stem, or the folder of its own that it lies in."""
    path = PurePosixPath(file)
    return (file, path.name, path.stem, *reversed(path.parts[:-1]))


def stems(files: Iterable[str]) -> dict[str, str]:
    """Return of each file (POSIX path) what it shares with copies of the same image: its folder and its stem.

    Augmented copies of one image, as Roboflow names them (``x_jpg.rf.<hash>.jpg``), share it.
    """
    found = {}
    for file in files:
        folder, _, name = file.rpartition("/")
        found[file] = f"{folder}/{name.split('.rf.')[0] if '.rf.' in name else name.rpartition('.')[0] or name}"
    return found


def draw(files: Sequence[str], *, seed: int) -> set[str]:
    """Choose a fifth of the images for validation.

    Each image has its own number, made from its stem and the seed, so that adding images moves hardly any of the
    others and the same images are chosen whatever layout they lie in (of images with one stem in several folders, the
    folder above counts too). Copies of one image (:func:`stems`) stay together.

    Args:
        files: POSIX paths.
        seed: Another seed gives another draw.

    Returns:
        Those chosen: at least one of two or more images, none of a single one.
    """
    groups: dict[str, list[str]] = {}
    for file, stem in stems(files).items():
        groups.setdefault(stem, []).append(file)
    if len(groups) < 2:
        return set()

    short = _short_names(groups)

    def number(path: str) -> bytes:
        name = short[path]
        return hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()

    wanted = max(1, round(VALIDATION_SHARE * len(groups)))
    return {file for name in sorted(groups, key=number)[:wanted] for file in groups[name]}


def _short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return the shortest end of each path, in whole parts, that no other has."""
    short, left, parts = {}, list(paths), 1
    while left:
        ends = {path: "/".join(path.split("/")[-parts:]) for path in left}
        count = Counter(ends.values())
        short |= {path: end for path, end in ends.items() if count[end] == 1}
        left = [path for path in left if count[ends[path]] > 1]
        parts += 1
    return short
