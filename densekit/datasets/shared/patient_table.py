"""A table of what is known of patients besides their images: classes to learn, and meta-information to learn from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densekit.datasets.shared.splits import read_rows
from densekit.errors import ConfigError, DataError, close_names, few
from densekit.structures.class_names import respelt, spelling

PATIENT = ("patient", "subject")
"""Columns that say whose a case is."""


@dataclass(frozen=True)
class PatientTable:
    """What a table says, by case id.

    Attributes:
        patients: Patient of each case, where the table has a column for it.
        classes: Of each case the class by column; empty cells are not there.
        meta: Of each case the other columns, a number or a text; empty cells are not there.
        notes: Lines for the user.
    """

    patients: dict[str, str] = field(default_factory=dict)
    classes: dict[str, dict[str, str]] = field(default_factory=dict)
    meta: dict[str, dict[str, float | str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, case: str) -> dict[str, Any]:
        """Return ``classes`` and ``meta`` of a case."""
        return {"classes": self.classes.get(case, {}), "meta": self.meta.get(case, {})}


def read_patient_table(
    path: Path | None,
    classes_from: Sequence[str] | None,
    cases: Sequence[str],
    *,
    columns: Sequence[str] = ("case",),
    names: Callable[[str], Sequence[str]] = lambda case: (case,),
) -> PatientTable:
    """Read a CSV with a line per case.

    Args:
        path: The CSV: a column for the case, optionally ``patient`` (or ``subject``), and any others. None: an empty
            table.
        classes_from: Columns that hold classes; the others are meta-information. Names in any case.
        cases: The cases there are.
        columns: Columns that may name the case; the first that is there does.
        names: What the table may call a case, the first that it has counts.

    Raises:
        ConfigError: if ``classes_from`` is given without a table, or is not one of its columns.
        DataError: if the table cannot be read, has no column for the case, a case twice, or none of the cases.
    """
    wanted = [name.strip().lower() for name in classes_from or ()]
    if path is None:
        if wanted:
            raise ConfigError("--classes-from: names columns of a table; give the table with --table=FILE")
        return PatientTable()
    path = Path(path).expanduser()
    header, rows = read_rows(path)
    key = next((name for name in columns if name in header), None)
    if key is None:
        wanted_column = " or ".join(columns)
        raise DataError(
            f"{path}, line 1: no column {wanted_column} (the header is {few(header or ('empty',))}); add it"
        )
    patient = next((name for name in PATIENT if name in header), None)
    others = [name for name in header if name not in (key, *PATIENT)]
    for name in wanted:
        if name not in others:
            raise ConfigError(f"--classes-from={name}: {path} has no such column{close_names(name, others)}")
    cells = _cells(path, rows, key, others)
    called = {case: next((name for name in names(case) if name in cells), None) for case in cases}
    known = {case: cells[name] for case, name in called.items() if name is not None}
    used = set(called.values())
    if not known:
        raise DataError(f"{path}: none of its cases ({few(cells, 3)}) is in the data set ({few(cases, 3)})")
    notes = [words for name in wanted if (words := _one_spelling(path, name, known.values()))]
    for ids, what in (
        ([name for name in cells if name not in used], "names {} case(s) that are not there"),
        ([case for case in cases if case not in known], "does not name {} case(s)"),
    ):
        if ids:
            notes.append(f"{path.name} {what.format(len(ids))}: {few(ids)}")
    numeric = {name for name in others if all(_is_number(row[name]) for row in known.values() if row[name])}
    subjects = {row[key].strip(): (row[patient] or "").strip() for _, row in rows} if patient else {}
    return PatientTable(
        patients={case: subjects[called[case]] for case in known if subjects.get(called[case])},
        classes={case: {name: row[name] for name in wanted if row[name]} for case, row in known.items()},
        meta={
            case: {n: float(row[n]) if n in numeric else row[n] for n in others if n not in wanted and row[n]}
            for case, row in known.items()
        },
        notes=tuple(notes),
    )


def _cells(
    path: Path, rows: Iterable[tuple[int, Mapping[str | None, Any]]], key: str, columns: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return the cells of each case by column, stripped."""
    found: dict[str, dict[str, str]] = {}
    for number, row in rows:
        case = (row[key] or "").strip()
        if not case or case in found or None in row:
            wrong = "is listed twice" if case in found else "is empty, or has more cells than there are columns"
            raise DataError(f"{path}, line {number}: {key} {case!r} {wrong}; expected one line per {key}")
        found[case] = {name: (row[name] or "").strip() for name in columns}
    return found


def _one_spelling(path: Path, name: str, rows: Collection[dict[str, str]]) -> str:
    """Write the classes of a column in their most frequent spelling; returns what was changed, in words."""
    counts, common = Counter(row[name] for row in rows if row[name]), {}
    for value, _ in counts.most_common():
        common.setdefault(spelling(value), value)
    matched = {value: common[spelling(value)] for value in counts}
    for row in rows:
        row[name] = matched.get(row[name], row[name])
    words = respelt(matched)
    return words and f"{path.name}, column {name}: {words}"


def meta_columns(rows: Iterable[Mapping[str, float | str]]) -> dict[str, list[str] | None]:
    """Return the columns of the meta-information of all cases: None for numbers, else its texts by their indices."""
    found: dict[str, list[float | str]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {
        name: None if all(isinstance(value, (int, float)) for value in values) else categories(map(str, values))
        for name, values in found.items()
    }


def as_numbers(row: Mapping[str, float | str], columns: Mapping[str, list[str] | None]) -> list[float]:
    """Return the meta-information of a case in columns: the number or the index of the text, NaN for an empty cell."""
    return [
        math.nan if name not in row else float(row[name] if texts is None else texts.index(str(row[name])))
        for name, texts in columns.items()
    ]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def categories(values: Iterable[str]) -> list[str]:
    """Return the distinct values in the order of their indices: numbers by size, then texts by the alphabet."""
    return sorted(set(values), key=lambda v: (0, float(v), v) if _is_number(v) else (1, 0.0, v))
