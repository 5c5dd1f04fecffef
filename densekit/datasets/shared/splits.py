"""Who trains and who validates: a CSV, nnU-Net's ``splits_final.json``, or a seeded draw that says that it was one."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from densekit.errors import ConfigError, DataError, few
from densekit.io.files import load_json

SPLITS = ("train", "val", "test")
VALIDATION_SHARE = 0.2
_KNOWN_FILES = ("splits.csv", "splits_final.json")


def assign_splits(
    ids: Sequence[str], *, root: Path, splits: Path | None = None, fold: int = 0, seed: int = 0
) -> tuple[dict[str, str], list[str]]:
    """Assign each case to a split.

    Args:
        ids: The labelled cases there are.
        root: The data set's folder; a ``splits.csv`` or ``splits_final.json`` in it is used when ``splits`` is None.
        splits: A CSV with the columns ``case`` and ``split`` (``train``, ``val`` or ``test``) and optionally
            ``subject``, or nnU-Net's ``splits_final.json``. None and no such file in ``root``: a fifth of the cases,
            drawn with ``seed``.
        fold: Which fold of a ``splits_final.json``.
        seed: Seed of the draw.

    Returns:
        Split by case id (cases that the file does not name are left out), and notes for the user.

    Raises:
        DataError: if the file is absent, unreadable or malformed (with the line), or names none of the cases.
    """
    notes = []
    if splits is None:
        splits = next((root / name for name in _KNOWN_FILES if (root / name).is_file()), None)
        if splits is None:
            return _draw(ids, seed)
        notes.append(f"split taken from {splits}")
    splits = Path(splits).expanduser()
    if not splits.is_file():
        raise DataError(
            f"{splits}: no such split file; expected a CSV with the columns case,split or nnU-Net's splits_final.json"
        )
    table = _read_folds(splits, fold) if splits.suffix.lower() == ".json" else _read_csv(splits)
    absent = [case for case in table if case not in set(ids)]
    unnamed = [case for case in ids if case not in table]
    if len(absent) == len(table):
        raise DataError(
            f"{splits}: none of its cases ({few(table, 3)}) is in the data set, whose cases are {few(ids, 3)}; "
            f"write the ids as the files are called, without suffix"
        )
    if absent:
        notes.append(f"{splits.name} names {len(absent)} case(s) that are not there: {few(absent)}")
    if unnamed:
        notes.append(f"{splits.name} does not name {len(unnamed)} case(s), which are left out: {few(unnamed)}")
    return {case: table[case] for case in ids if case in table}, notes


def _draw(ids: Sequence[str], seed: int) -> tuple[dict[str, str], list[str]]:
    count = max(1, round(VALIDATION_SHARE * len(ids))) if len(ids) > 1 else 0
    chosen = set(random.Random(seed).sample(sorted(ids), count))
    note = (
        f"no split given: {count} of {len(ids)} cases drawn for validation (seed {seed}), case by case; "
        f"if a subject has several cases, give a CSV with case,subject,split"
    )
    return {case: "val" if case in chosen else "train" for case in ids}, [note]


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str | None, Any]]]]:
    """Read a CSV file in UTF-8, with or without a byte order mark.

    Returns:
        The names of its columns, in lower case; and of each line below them its number and its cells by these names:
        None for a cell that is not there, cells beyond the last column under the name None.

    Raises:
        DataError: if it cannot be read, or is no CSV in UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            return list(reader.fieldnames), [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is no CSV file in UTF-8 ({error}); save it as CSV UTF-8") from error


def _read_csv(path: Path) -> dict[str, str]:
    """Read ``case,split[,subject]``; a subject may be in one split only: its other scans would give the answer away."""
    table: dict[str, str] = {}
    first_seen: dict[str, tuple[str, int]] = {}
    columns, rows = read_rows(path)
    missing = [name for name in ("case", "split") if name not in columns]
    if missing:
        raise DataError(
            f"{path}, line 1: no column {' and '.join(missing)} (the header is {few(columns or ('empty',))}); "
            f"expected case,split and optionally subject"
        )
    for number, row in rows:
        where = f"{path}, line {number}"
        case, split = (row["case"] or "").strip(), (row["split"] or "").strip()
        if not case or split not in SPLITS or None in row:
            raise DataError(f"{where}: case {case!r}, split {split!r}; expected one case and one of {few(SPLITS)}")
        if case in table:
            raise DataError(f"{where}: case {case!r} is listed twice; keep one line per case")
        table[case] = split
        subject = (row.get("subject") or "").strip()
        other, line = first_seen.setdefault(subject, (split, number))
        if subject and other != split:
            raise DataError(
                f"{where}: subject {subject!r} is in {split!r}, but in {other!r} on line {line}; "
                f"keep all cases of a subject in one split"
            )
    if not table:
        raise DataError(f"{path}: has a header but no cases; write one line case,split per case")
    return table


def _read_folds(path: Path, fold: int) -> dict[str, str]:
    folds = load_json(path)
    if not (
        isinstance(folds, list) and folds and all(isinstance(f, dict) and {"train", "val"} <= f.keys() for f in folds)
    ):
        raise DataError(f'{path}: expected nnU-Net\'s list of folds [{{"train": [ids], "val": [ids]}}, ...]')
    if not 0 <= fold < len(folds):
        raise ConfigError(f"fold={fold}: {path} has the folds 0 to {len(folds) - 1}")
    both = sorted(set(folds[fold]["train"]) & set(folds[fold]["val"]))
    if both:
        raise DataError(f"{path}: fold {fold} has {few(both, 3)} in train and in val; keep each case in one of them")
    return {case: split for split in ("train", "val") for case in folds[fold][split]}
