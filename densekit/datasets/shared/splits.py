"""Who trains and who validates: a CSV, nnU-Net's ``splits_final.json``, or a seeded draw that says that it was one."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densekit.errors import DataError, few
from densekit.io.files import load_json

SPLITS = ("train", "val", "test")
VALIDATION_SHARE = 0.2
_KNOWN_FILES = ("splits.csv", "splits_final.json")


@dataclass
class Assignment:
    """Who trains and who validates.

    Attributes:
        split: Split by case id; None for a case that is in folds only. Cases that no split names are not there.
        folds: Of each fold the case ids of ``"train"`` and ``"val"``.
        patients: Patient by case id, where it is known.
        notes: Lines for the user.
    """

    split: dict[str, str | None]
    folds: tuple[dict[str, list[str]], ...] = ()
    patients: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def assign_splits(
    ids: Sequence[str],
    *,
    root: Path,
    splits: Path | None = None,
    seed: int = 0,
    patients: Mapping[str, str] | None = None,
) -> Assignment:
    """Assign each case to a split, and to folds where the file has some.

    Args:
        ids: The cases there are.
        root: The data set's folder; a ``splits.csv`` or ``splits_final.json`` in it is used when ``splits`` is None.
        splits: A CSV with the columns ``case`` and ``split`` (``train``, ``val`` or ``test``) and optionally
            ``subject`` (or ``patient``) and ``fold`` (the one in which the case validates, from 0 on; empty: it trains
            in all), or nnU-Net's ``splits_final.json``, of which the first fold is the split. None and no such file in
            ``root``: a fifth of the patients, drawn with ``seed``.
        seed: Seed of the draw.
        patients: Patient by case id, where it is known already; the others are patients of their own.

    Raises:
        DataError: if the file is absent, unreadable or malformed (with the line), or names none of the cases.
    """
    notes = []
    if splits is None:
        splits = next((root / name for name in _KNOWN_FILES if (root / name).is_file()), None)
        if splits is None:
            return _draw(ids, seed, dict(patients or {}))
        notes.append(f"split taken from {splits}")
    splits = Path(splits).expanduser()
    if not splits.is_file():
        raise DataError(
            f"{splits}: no such split file; expected a CSV with the columns case,split or nnU-Net's splits_final.json"
        )
    found = _read_nnunet(splits) if splits.suffix.lower() == ".json" else _read_csv(splits)
    known = set(ids)
    absent = [case for case in found.split if case not in known]
    unnamed = [case for case in ids if case not in found.split]
    if len(absent) == len(found.split):
        raise DataError(
            f"{splits}: none of its cases ({few(found.split, 3)}) is in the data set, whose cases are {few(ids, 3)}; "
            f"write the ids as the files are called, without suffix"
        )
    if absent:
        notes.append(f"{splits.name} names {len(absent)} case(s) that are not there: {few(absent)}")
    if unnamed:
        notes.append(f"{splits.name} does not name {len(unnamed)} case(s), which are left out: {few(unnamed)}")
    return Assignment(
        split={case: found.split[case] for case in ids if case in found.split},
        folds=tuple(
            {name: [case for case in f[name] if case in known] for name in ("train", "val")} for f in found.folds
        ),
        patients={**(patients or {}), **found.patients},
        notes=notes,
    )


def _draw(ids: Sequence[str], seed: int, patients: dict[str, str]) -> Assignment:
    groups = sorted({patients.get(case, case) for case in ids})
    count = max(1, round(VALIDATION_SHARE * len(groups))) if len(groups) > 1 else 0
    chosen = set(random.Random(seed).sample(groups, count))
    split: dict[str, str | None] = {case: "val" if patients.get(case, case) in chosen else "train" for case in ids}
    if patients:
        note = f"no split given: {count} of {len(groups)} patients drawn for validation (seed {seed})"
    else:
        note = (
            f"no split given: {count} of {len(ids)} cases drawn for validation (seed {seed}), case by case; "
            f"if a subject has several cases, give a CSV with case,subject,split"
        )
    return Assignment(split, patients=patients, notes=[note])


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


def _read_csv(path: Path) -> Assignment:
    """Read ``case,split[,subject][,fold]``; a subject in two splits is refused: its scans give the answer away."""
    found = Assignment({})
    first_seen: dict[str, tuple[str, int]] = {}
    numbers: dict[str, int | None] = {}
    columns, rows = read_rows(path)
    missing = [name for name in ("case", "split") if name not in columns]
    if missing:
        raise DataError(
            f"{path}, line 1: no column {' and '.join(missing)} (the header is {few(columns or ('empty',))}); "
            f"expected case,split and optionally subject, fold"
        )
    for number, row in rows:
        where = f"{path}, line {number}"
        case, split = (row["case"] or "").strip(), (row["split"] or "").strip()
        if not case or split not in SPLITS or None in row:
            raise DataError(f"{where}: case {case!r}, split {split!r}; expected one case and one of {few(SPLITS)}")
        if case in found.split:
            raise DataError(f"{where}: case {case!r} is listed twice; keep one line per case")
        found.split[case] = split
        subject = (row.get("subject") or row.get("patient") or "").strip()
        other, line = first_seen.setdefault(subject, (split, number))
        if subject and other != split:
            raise DataError(
                f"{where}: subject {subject!r} is in {split!r}, but in {other!r} on line {line}; "
                f"keep all cases of a subject in one split"
            )
        if subject:
            found.patients[case] = subject
        if "fold" in columns:
            numbers[case] = _fold_number((row["fold"] or "").strip(), split, where)
    if not found.split:
        raise DataError(f"{path}: has a header but no cases; write one line case,split per case")
    found.folds = _folds(path, found.split, numbers)
    return found


def _fold_number(text: str, split: str, where: str) -> int | None:
    if text and (not text.isdecimal() or split == "test"):
        raise DataError(f"{where}: fold {text!r} of a case in {split!r}; expected a number from 0 on, nothing for test")
    return int(text) if text else None


def _folds(
    path: Path, split: Mapping[str, str | None], numbers: Mapping[str, int | None]
) -> tuple[dict[str, list[str]], ...]:
    """Make the folds of the column ``fold``: of each the cases that have its number validate."""
    given = sorted({number for number in numbers.values() if number is not None})
    if given and (len(given) < 2 or given != list(range(len(given)))):
        raise DataError(
            f"{path}: the column fold has the numbers {few(given)}; expected at least 0 and 1, without gaps"
        )
    cases = [case for case in numbers if split[case] != "test"]
    return tuple(
        {
            "train": [case for case in cases if numbers[case] != fold],
            "val": [case for case in cases if numbers[case] == fold],
        }
        for fold in given
    )


def _read_nnunet(path: Path) -> Assignment:
    folds = load_json(path)
    if not (isinstance(folds, list) and folds and all(isinstance(f, dict) and _has_lists(f) for f in folds)):
        raise DataError(f'{path}: expected nnU-Net\'s list of folds [{{"train": [ids], "val": [ids]}}, ...]')
    for number, fold in enumerate(folds):
        both = sorted(set(fold["train"]) & set(fold["val"]))
        if both:
            raise DataError(
                f"{path}: fold {number} has {few(both, 3)} in train and in val; keep each case in one of them"
            )
    split: dict[str, str | None] = {case: name for name in ("train", "val") for case in folds[0][name]}
    for fold in folds[1:]:
        split = dict.fromkeys((*fold["train"], *fold["val"])) | split
    return Assignment(split, tuple(folds))


def _has_lists(fold: Mapping[str, Any]) -> bool:
    return all(isinstance(fold.get(name), list) for name in ("train", "val"))
