"""Folds for cross-validation: by patient, every kind of case shared out evenly, from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densekit.errors import ConfigError

FOLD_SEED = 0
"""Seed of folds that are made when a training begins: not the training's own, so that all that train meet the same."""


@dataclass(frozen=True)
class Fold:
    """One of the folds that are made of data which have none of their own.

    Attributes:
        number: How many there are.
        index: Which one, from 0.
        table: CSV that says whose each case is (:mod:`densekit.datasets.shared.patient_table`); None: there is none.

    Raises:
        ConfigError: if there is no such fold.
    """

    number: int
    index: int
    table: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.number:
            raise ConfigError(f"fold={self.index}: of folds={self.number} there are 0 to {self.number - 1}")

    def key(self) -> str:
        """Return what changes when another fold comes of the same data."""
        content = self.table.read_bytes().hex() if self.table is not None and self.table.is_file() else ""
        return f"fold {self.index} of {self.number} {self.table} {content}"


def fold_of(settings: Mapping[str, Any]) -> Fold | None:
    """The fold that the settings ``folds``, ``fold`` and ``table`` name; None if they name none.

    Raises:
        ConfigError: if there is one of the first two without the other, or no such fold.
    """
    number, index, table = (settings[key] for key in ("folds", "fold", "table"))
    if (number is None) != (index is None):
        raise ConfigError(f"folds={number}, fold={index}: give how many there are and which one, --folds=5 --fold=2")
    return None if number is None else Fold(number, index, None if table is None else Path(table))


def make_folds(
    patients: Mapping[str, str], tags: Mapping[str, Collection[Hashable]], number: int, seed: int
) -> tuple[dict[str, list[str]], ...]:
    """Divide cases into folds; each case validates in one of them and trains in the others.

    All cases of a patient are in one fold. Iterative stratification (Sechidis et al. 2011, "On the stratification of
    multi-label data"), of patients: those of the rarest tag are dealt first, each to the fold that lacks most of it,
    among equals to the one that lacks most cases, then by lot; of a tag, patients with many scans come first. Patients
    without a tag fill up what lacks cases.

    Args:
        patients: Patient of each case to divide.
        tags: What a case has and each fold should have its share of: classes that occur in it, say. May lack cases.
        number: How many folds.
        seed: Decides together with the cases, whatever their order.

    Returns:
        Of each fold the case ids of ``"train"`` and ``"val"``, sorted.

    Raises:
        ConfigError: for fewer than 2 folds, or more folds than patients.
    """
    groups: dict[str, list[str]] = {}
    for case in sorted(patients):
        groups.setdefault(patients[case], []).append(case)
    if not isinstance(number, int) or number < 2:
        raise ConfigError(f"folds={number}: expected a whole number of at least 2")
    if len(groups) < number:
        raise ConfigError(
            f"folds={number}: there are {len(groups)} patients to train and validate with; make at most as many folds"
        )
    rng = random.Random(seed)
    left = sorted(groups)
    rng.shuffle(left)
    left.sort(key=lambda patient: -len(groups[patient]))  # many scans first, so that few even the folds out at the end
    has = {patient: set().union(*(tags.get(case, ()) for case in groups[patient])) for patient in left}
    total = Counter(tag for patient in left for tag in has[patient])
    lacks = [Counter({tag: count / number for tag, count in total.items()}) for _ in range(number)]
    room = [len(patients) / number] * number
    chosen: dict[str, int] = {}
    remaining, tags_in_order = total.copy(), sorted(total, key=repr)
    waiting = {tag: iter([p for p in left if tag is None or tag in has[p]]) for tag in (None, *total)}
    for _ in left:
        rarest = min((tag for tag in tags_in_order if remaining[tag]), key=remaining.__getitem__, default=None)
        patient = next(p for p in waiting[rarest] if p not in chosen)
        fold = max(range(number), key=lambda k: (lacks[k][rarest], room[k], rng.random()))
        chosen[patient] = fold
        remaining.subtract(has[patient])
        room[fold] -= len(groups[patient])
        lacks[fold].subtract(has[patient])
    place = {case: chosen[patient] for case, patient in patients.items()}
    return tuple(
        {
            "train": sorted(case for case in place if place[case] != fold),
            "val": sorted(case for case in place if place[case] == fold),
        }
        for fold in range(number)
    )
