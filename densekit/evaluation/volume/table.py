"""The scores of a cohort: means per structure, their mean, what the means leave out, as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from densekit.errors import ConfigError, DataError
from densekit.evaluation.volume.score import EMPTY_MASKS, StructureScore
from densekit.io.atomic import write_json_atomic, write_text_atomic

METRICS_SHOWN = {"dice": "Dice", "hd95_voxel": "HD95 vox", "hd95_mm": "HD95 mm", "surface_dice": "NSD"}
SITUATIONS = ("missed", "spurious", "absent")


@dataclass(frozen=True)
class Mean:
    """A mean that says over how many of the values it is.

    Attributes:
        value: The mean of the values that are defined; None if there is none.
        count: How many values are defined.
        total: How many there should be, failed cases included.
        left_out: How many are not there, by reason: a situation, ``"failed"`` or ``"not computed"``:
            ``{"missed": 1, "failed": 1}``.
    """

    value: float | None
    count: int
    total: int
    left_out: dict[str, int]

    @property
    def undefined(self) -> int:
        """How many values are not defined although their case was scored and the metric computed."""
        return sum(number for reason, number in self.left_out.items() if reason in SITUATIONS)

    def __str__(self) -> str:
        reasons = "".join(f", {number} {reason}" for reason, number in self.left_out.items())
        return f"mean over {self.count} of {self.total}{reasons}"


@dataclass(frozen=True)
class Summary:
    """One line of the table: the means of a structure over cases, of a case over structures, or of everything.

    Attributes:
        name: Structure, case id, or ``"mean"``.
        dice, hd95_voxel, hd95_mm, surface_dice: The means.
        missed, spurious, absent: How many scores had an empty mask, whatever the convention made of it.
    """

    name: str
    dice: Mean
    hd95_voxel: Mean
    hd95_mm: Mean
    surface_dice: Mean
    missed: int
    spurious: int
    absent: int


class ScoreTable:
    """Scores of a cohort.

    The mean of a structure is over cases; the overall mean is over the means of the scored structures, as published.
    A value that is not defined is never replaced: each mean says how many it leaves out and why.

    Args:
        scores: Scores of all cases, of one convention and one tolerance.
        failures: Cases that gave no prediction, with the reason; they are listed and counted.

    Raises:
        ConfigError: If the scores were made with different conventions, tolerances or choices of scored structures.
        DataError: If a case is scored twice, or both scored and failed.
    """

    def __init__(self, scores: Iterable[StructureScore], *, failures: Mapping[str, str] | None = None) -> None:
        self.scores = tuple(scores)
        self.failures = dict(failures or {})
        self.cases = tuple(dict.fromkeys(score.case for score in self.scores))
        self.structures = tuple(dict.fromkeys(score.structure for score in self.scores))
        self.scored_structures = tuple(dict.fromkeys(score.structure for score in self.scores if score.scored))
        self._check()
        self.convention = self.scores[0].convention if self.scores else None
        self.tolerance_mm = self.scores[0].tolerance_mm if self.scores else None

    def __repr__(self) -> str:
        return self.render(per_case=False)

    def structure(self, name: str) -> Summary:
        """Return the means of one structure over all cases."""
        scores = [score for score in self.scores if score.structure == name]
        return self._summary(name, scores, failed=len(self.failures))

    def case(self, case_id: str) -> Summary:
        """Return the means of one case over its scored structures."""
        return self._summary(case_id, [score for score in self.scores if score.case == case_id and score.scored])

    def overall(self) -> Summary:
        """Return the means over scored structures of their means over cases; counts are of case-structure pairs."""
        parts = [self.structure(name) for name in self.scored_structures]
        means = {}
        for metric in METRICS_SHOWN:
            of_structures = [getattr(part, metric) for part in parts]
            left_out = sum((Counter(mean.left_out) for mean in of_structures), Counter())
            means[metric] = Mean(
                _average(mean.value for mean in of_structures),
                sum(mean.count for mean in of_structures),
                sum(mean.total for mean in of_structures),
                dict(left_out),
            )
        return Summary("mean", **means, **{name: sum(getattr(part, name) for part in parts) for name in SITUATIONS})

    def render(self, *, per_case: bool = True) -> str:
        """Return the table as text of about 90 columns: structures, their mean, cases, and what the means leave out."""
        structures = [self.structure(name) for name in self.scored_structures]
        others = [self.structure(name) for name in self.structures if name not in self.scored_structures]
        overall = self.overall()
        width = max([len(name) for name in (*self.structures, *self.cases, "structure")])
        rule = "-" * len(_header("", width))
        lines = [*self._heading(), "", _header("structure", width), rule]
        lines += [_row(summary, width) for summary in structures]
        lines += [rule, _row(overall, width)]
        if others:
            lines += ["not in the mean:", *(_row(summary, width) for summary in others)]
        if per_case:
            lines += ["", _header("case", width), rule, *(_row(self.case(case), width) for case in self.cases)]
        notes = [line for summary in (*structures, overall, *others) for line in self._left_out(summary)]
        if notes:
            lines += ["", "* not every value is defined:", *(f"  {note}" for note in notes)]
        for situation in ("missed", "spurious"):
            lines += self._where(situation)
        lines += [f"failed: {case}: {reason}" for case, reason in self.failures.items()]
        return "\n".join(lines)

    def to_csv(self, path: str | Path) -> None:
        """Write one row per case and structure, and one per failed case; undefined values are empty.

        Raises:
            OutputError: If the file cannot be written.
        """
        columns = [field.name for field in fields(StructureScore)]
        text = io.StringIO()
        writer = csv.DictWriter(text, [*columns, "failure"], lineterminator="\n")
        writer.writeheader()
        for score in self.scores:
            writer.writerow({**asdict(score), "spacing_mm": " ".join(f"{v:g}" for v in score.spacing_mm)})
        for case, reason in self.failures.items():
            writer.writerow({"case": case, "situation": "failed", "failure": reason})
        write_text_atomic(path, text.getvalue())

    def to_json(self, path: str | Path) -> None:
        """Write :meth:`to_dict` as JSON; undefined values are null.

        Raises:
            OutputError: If the file cannot be written.
        """
        write_json_atomic(path, self.to_dict())

    def to_dict(self) -> dict:
        """Return everything, with the meaning of the metrics, in plain JSON types."""
        return {
            "semantics": _semantics(self.convention, self.tolerance_mm),
            "notes": self.notes(),
            "cases_scored": len(self.cases),
            "cases_failed": len(self.failures),
            "scored_structures": list(self.scored_structures),
            "mean": _plain(self.overall()),
            "structures": {name: _plain(self.structure(name)) for name in self.structures},
            "cases": {case: self._case_dict(case) for case in self.cases},
            "failures": self.failures,
        }

    def notes(self) -> list[str]:
        """Return what must be known to read the numbers: that the tolerance is finer than the scans."""
        coarse = max(self.scores, key=lambda score: max(score.spacing_mm), default=None)
        if not self._surface or coarse is None or self.tolerance_mm >= max(coarse.spacing_mm):
            return []
        return [
            f"NSD's tolerance of {self.tolerance_mm:g} mm is below voxels' sides of up to "
            f"{max(coarse.spacing_mm):g} mm: across these only equal surfaces agree"
        ]

    def _check(self) -> None:
        settings = {(score.convention, score.tolerance_mm) for score in self.scores}
        if len(settings) > 1:
            raise ConfigError(
                f"scores of different (convention, tolerance in mm) cannot be averaged: "
                f"{', '.join(sorted(map(str, settings)))}; score all cases with the same"
            )
        in_mean = {(score.structure, score.scored) for score in self.scores}
        if len(in_mean) > len(self.structures):
            raise ConfigError(
                "a structure is in the mean for some cases and not for others; give `scored` the same for all"
            )
        pairs = Counter((score.case, score.structure) for score in self.scores)
        for (case, structure), times in pairs.items():
            if times > 1:
                raise DataError(f"case {case}: {structure} is scored {times} times; case ids must be unique")
        for case in self.cases:
            if case in self.failures:
                raise DataError(f"case {case}: both scored and failed ({self.failures[case]}); case ids must be unique")

    def _summary(self, name: str, scores: Sequence[StructureScore], failed: int = 0) -> Summary:
        means = {}
        for metric in METRICS_SHOWN:
            values = [getattr(score, metric) for score in scores]
            left_out = Counter(_reason(score, metric) for score in scores if getattr(score, metric) is None)
            if failed:
                left_out["failed"] = failed
            defined = len(values) - values.count(None)
            means[metric] = Mean(_average(values), defined, len(values) + failed, dict(left_out))
        situations = Counter(score.situation for score in scores)
        return Summary(name, **means, **{situation: situations[situation] for situation in SITUATIONS})

    def _heading(self) -> Iterable[str]:
        failed = f", failed: {len(self.failures)} (in no mean, see below)" if self.failures else ""
        yield f"cases scored: {len(self.cases)}{failed}; structures in the mean: {len(self.scored_structures)}"
        if self.convention is None:
            return
        yield f"empty masks ({self.convention}): " + "; ".join(
            f"{situation} Dice {_word(dice)}" + (f", HD95 {_word(hd95)}" if self._surface else "")
            for situation, (dice, hd95) in EMPTY_MASKS[self.convention].items()
        )
        if self._surface:
            yield f"HD95: 95th percentile of pooled surface distances; NSD: surface Dice at {self.tolerance_mm:g} mm"
            yield from self.notes()
        else:
            yield "surface distances were not computed"

    @property
    def _surface(self) -> bool:
        return self.tolerance_mm is not None

    def _left_out(self, summary: Summary) -> Iterable[str]:
        """One line per group of metrics whose means leave scored cases out; failed cases alone are told once, below."""
        grouped: dict[str, list[str]] = {}
        for metric in METRICS_SHOWN:
            mean = getattr(summary, metric)
            if mean.undefined:
                grouped.setdefault(str(mean), []).append(METRICS_SHOWN[metric])
        for text, metrics in grouped.items():
            yield f"{summary.name}: {', '.join(metrics)}: {text}"

    def _where(self, situation: str) -> Iterable[str]:
        found: dict[str, list[str]] = {}
        for score in self.scores:
            if score.situation == situation:
                found.setdefault(score.structure, []).append(score.case)
        for structure, cases in found.items():
            yield f"{situation}: {structure} in {', '.join(cases)}"

    def _case_dict(self, case: str) -> dict:
        scores = [score for score in self.scores if score.case == case]
        shared = ("case", "structure", "spacing_mm", "convention", "tolerance_mm")
        return {
            "spacing_mm": list(scores[0].spacing_mm),
            "mean": _plain(self.case(case)),
            "structures": {
                score.structure: {key: value for key, value in asdict(score).items() if key not in shared}
                for score in scores
            },
        }


def _reason(score: StructureScore, metric: str) -> str:
    """Why a value is None."""
    return "not computed" if score.tolerance_mm is None and metric != "dice" else score.situation


def _average(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def _plain(summary: Summary) -> dict:
    return {key: value for key, value in asdict(summary).items() if key != "name"}


def _word(value: float | None) -> str:
    return "undefined" if value is None else f"{value:g}"


def _header(first: str, width: int) -> str:
    return (
        f"{first:<{width}}"
        + "".join(f"{title:>10} " for title in METRICS_SHOWN.values())
        + "".join(f"{situation:>9}" for situation in SITUATIONS)
    )


def _row(summary: Summary, width: int) -> str:
    cells = [f"{summary.name:<{width}}"]
    for metric in METRICS_SHOWN:
        mean = getattr(summary, metric)
        digits = 2 if metric.startswith("hd95") else 4
        number = "-" if mean.value is None else f"{mean.value:.{digits}f}"
        cells.append(f"{number:>10}" + ("*" if mean.undefined else " "))
    cells += [f"{getattr(summary, situation):>9}" for situation in SITUATIONS]
    return "".join(cells)


def _semantics(convention: str | None, tolerance_mm: float | None) -> dict:
    """What the numbers mean, for whoever finds the file."""
    empty = EMPTY_MASKS.get(convention, {})
    return {
        "convention": convention,
        "empty_masks": {
            situation: {"dice": dice, "hd95": hd95, "surface_dice": None if situation == "absent" else 0.0}
            for situation, (dice, hd95) in empty.items()
        },
        "situations": {
            "both": "prediction and reference have voxels",
            "missed": "the prediction is empty, the reference is not",
            "spurious": "the reference is empty, the prediction is not",
            "absent": "both are empty",
        },
        "null": "not defined under the convention, or surface distances not computed; never part of a mean",
        "dice": "2 |P and G| / (|P| + |G|) over the voxels of the whole volume, 0 to 1",
        "surface": "mask minus its 6-neighbour erosion, background outside the volume; distances between voxel centres",
        "hd95": "95th percentile, linear interpolation, of both directed sets of surface distances pooled (as MedPy)",
        "hd95_voxel": "in voxels of the scored grid, as the Synapse and ACDC literature reports it",
        "hd95_mm": "in mm, by the spacing_mm (D, H, W) of each case",
        "surface_dice": "fraction of surface voxels of both masks within the tolerance of the other surface, inclusive",
        "surface_distances_computed": tolerance_mm is not None,
        "surface_dice_tolerance_mm": tolerance_mm,
        "mean": "over cases per structure, then over the means of the scored structures",
    }
