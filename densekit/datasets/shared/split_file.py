"""Named splits and folds of a prepared data set: one JSON file beside it, to be read and edited by hand.

::

    {"splits": {"train": ["a", "b"], "val": ["c"], "test": ["d"]},
     "folds": [{"train": ["a", "b"], "val": ["c"]}, {"train": ["b", "c"], "val": ["a"]}],
     "by": "patient", "stratified": "class presence", "seed": 0}

The last three only say how the folds were made. A case may be in no split. ``train``, ``val`` and ``test`` share no
patient, nor do the two of a fold and ``test``; splits of other names may hold what they like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from densekit.datasets.shared.splits import SPLITS
from densekit.errors import ConfigError, DataError, close_names
from densekit.io import write_json_atomic
from densekit.io.files import load_json

SPLIT_FILE = "splits.json"

Members = dict[str, list[str]]
"""Case ids by name of split."""


@dataclass(frozen=True)
class Splits:
    """Who trains, validates and tests.

    Attributes:
        splits: Case ids of each named split.
        folds: Of each fold ``"train"`` and ``"val"``.
        by: What the folds keep together.
        stratified: What the folds share out evenly.
        seed: Seed of the folds.
    """

    splits: Members
    folds: tuple[Members, ...] = ()
    by: str | None = None
    stratified: str | None = None
    seed: int | None = None

    @classmethod
    def read(cls, path: Path) -> Splits:
        """Read the file.

        Raises:
            DataError: if it cannot be read or is not of the form above.
        """
        values = load_json(path)
        known = tuple(cls.__dataclass_fields__)
        if not isinstance(values, dict) or "splits" not in values:
            raise DataError(
                f'{path}: expected {{"splits": {{"train": [ids], "val": [ids], "test": [ids]}}, "folds": []}}'
            )
        for key in values:
            if key not in known:
                raise DataError(f"{path}: unknown key {key!r}{close_names(key, known)}; it has {', '.join(known)}")
        if not _is_members(values["splits"]):
            raise DataError(f"{path}: splits is not a list of case ids for each name of a split; correct it")
        folds = values.get("folds", [])
        if not isinstance(folds, list) or not all(_is_members(f) and set(f) == {"train", "val"} for f in folds):
            raise DataError(f'{path}: folds is not a list of {{"train": [ids], "val": [ids]}}; correct it')
        return cls(**{**values, "folds": tuple(folds)})

    def write(self, path: Path) -> None:
        """Write the file by rename.

        Raises:
            OutputError: if it cannot be written.
        """
        write_json_atomic(path, {key: value for key, value in asdict(self).items() if value is not None}, indent=1)

    def of(self, fold: int | None) -> Members:
        """Return the splits by name, those of a fold in place of ``train`` and ``val`` unless it is None.

        Raises:
            ConfigError: for a fold that is not there.
        """
        if fold is None:
            return self.splits
        if not self.folds:
            raise ConfigError(
                f"fold={fold}: the data set has no folds; make them with `densekit prepare ... --folds 5`"
            )
        if not isinstance(fold, int) or isinstance(fold, bool) or not 0 <= fold < len(self.folds):
            raise ConfigError(f"fold={fold}: the data set has {len(self.folds)} folds, 0 to {len(self.folds) - 1}")
        return {**self.splits, **self.folds[fold]}

    def problems(self, patients: Mapping[str, str]) -> list[str]:
        """Return what is wrong, a line each: unknown ids, cases listed twice, patients in two splits.

        Args:
            patients: The patient of every case of the data set.
        """
        found = []
        for where, ids in self._lists():
            for case in dict.fromkeys(ids):
                if case not in patients:
                    found.append(f"{where} has case {case!r}, which is not there{close_names(case, patients)}")
                if ids.count(case) > 1:
                    found.append(f"{where} has case {case!r} {ids.count(case)} times; keep one")
        for fold in (None, *range(len(self.folds))):
            where = "splits" if fold is None else f"fold {fold}"
            found += [f"{where}: {problem}" for problem in _shared(self.of(fold), patients)]
        return list(dict.fromkeys(found))

    def _lists(self) -> Iterator[tuple[str, list[str]]]:
        yield from ((f"split {name}", ids) for name, ids in self.splits.items())
        for number, fold in enumerate(self.folds):
            yield from ((f"fold {number}, {name},", ids) for name, ids in fold.items())


def _shared(members: Members, patients: Mapping[str, str]) -> Iterator[str]:
    """Yield the patients that are in two of train, val and test: their other scans would give the answer away."""
    first: dict[str, tuple[str, str]] = {}
    for split in SPLITS:
        for case in members.get(split, ()):
            patient = patients.get(case, case)
            other, known = first.setdefault(patient, (split, case))
            if other != split:
                one = f"case {case!r}" if known == case else f"patient {patient!r}"
                where = f"{other} and {split}" if known == case else f"{other} ({known}) and {split} ({case})"
                yield f"{one} is in {where}; keep each patient in one of them"


def _is_members(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(ids, list) and all(isinstance(case, str) for case in ids) for ids in value.values()
    )
