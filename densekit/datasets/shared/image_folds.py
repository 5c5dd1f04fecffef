"""Folds of images: by patient where a table names them, else with copies of one image together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from densekit.datasets.shared.folds import FOLD_SEED, Fold, make_folds
from densekit.datasets.shared.image_files import Header
from densekit.datasets.shared.image_splits import COLUMNS, find_table, names_of, stems
from densekit.datasets.shared.patient_table import PATIENT, PatientTable, read_patient_table
from densekit.datasets.shared.similar import alike, same_files
from densekit.datasets.shared.split_file import Splits
from densekit.datasets.shared.splits import read_rows


def read_image_table(path: Path | None, files: Sequence[str]) -> PatientTable:
    """Read a CSV with a line per image, which a column ``image``, ``file``... calls by its path, name, stem or folder.

    Raises:
        DataError: as :func:`densekit.datasets.shared.patient_table.read_patient_table`.
    """
    return read_patient_table(path, None, files, columns=COLUMNS, names=names_of)


def image_folds(
    files: Sequence[str], root: Path, headers: Sequence[Header | None], tags: Mapping[str, Collection[str]], fold: Fold
) -> Splits:
    """Divide images into folds.

    Args:
        files: The images to divide, POSIX paths.
        root: Folder they are relative to; a CSV of splits in it may have a column ``patient``.
        headers: What they say.
        tags: Classes in each image.
        fold: Number of folds, and the table of patients.

    Returns:
        The folds, and how they were made.

    Raises:
        ConfigError: if there are fewer patients than folds.
        DataError: if the table cannot be read.
    """
    table = fold.table
    beside = find_table(root)
    if table is None and beside is not None and set(PATIENT) & set(read_rows(beside)[0]):
        table = beside
    patients, by = read_image_table(table, files).patients, "patient"
    groups = {file: f"image {stem}" for file, stem in stems(files).items()}
    if patients:
        groups |= {file: f"patient {patient}" for file, patient in patients.items()}
    else:
        groups, by = _with_copies(groups, files, [str(root / file) for file in files], headers, fold.number)
    made = make_folds(groups, tags, fold.number, FOLD_SEED)
    return Splits({}, made, by, "class presence", FOLD_SEED)


def _with_copies(
    groups: Mapping[str, str], files: Sequence[str], paths: Sequence[str], headers: Sequence[Header | None], number: int
) -> tuple[dict[str, str], str]:
    """Join groups that share a file, and those that share an image by its looks; and say what is kept together."""
    room, same = len(files) / number, list(same_files(paths, headers))
    kept = [(group[0], other) for group in same if len(group) <= room for other in group[1:]]
    joined, by = _joined(groups, files, kept), "image, with identical files together" if kept else "image"
    looks = _joined(joined, files, alike(paths, headers))
    # where more images look the same than a fold has (a fixed camera), looks do not tell scenes apart
    if max(Counter(looks.values()).values()) <= room:
        joined, by = looks, "image, with those that look the same together"
    divided = [str(len(group)) for group in same if len(group) > room]
    said = f" (but {' and '.join(divided)} identical files, more than a fold has, may train and validate)"
    return joined, by + said * bool(divided)


def _joined(groups: Mapping[str, str], files: Sequence[str], pairs: Iterable[tuple[int, int]]) -> dict[str, str]:
    """Make one of groups that share an image, as pairs of indices."""
    above: dict[str, str] = {}

    def top(group: str) -> str:
        while group in above:
            group = above[group]
        return group

    for one, other in pairs:
        first, second = sorted((top(groups[files[one]]), top(groups[files[other]])))
        if first != second:
            above[second] = first
    return {file: top(group) for file, group in groups.items()}
