"""Reports as single HTML pages: what was predicted over a cohort, and what came out of a training.

A page needs nothing but a browser: pictures, style and script are inside, nothing is fetched. All texts are escaped
(case ids come from file names).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from densekit.datasets.shared.outliers import OUTLIER, find_outliers
from densekit.visualization.shared.page import show_duration, write_page
from densekit.visualization.shared.palette import css_color
from densekit.visualization.shared.thumbnails import data_uri, open_upright
from densekit.visualization.volume.cohort import VolumeSummary, summarize

logger = logging.getLogger("densekit")

_LISTED = 12  # so many case ids are named in one sentence, the others are counted


@dataclass(frozen=True)
class CaseReport:
    """What the report says about one case.

    Attributes:
        case_id: Name of the case, usually from its file name.
        status: ``"ok"`` or ``"failed"``.
        reason: Why it failed, in one line; None if it did not.
        volumes_ml: Structure name -> volume in ml; 0 means that the structure was not found. Empty for a failed case.
        notes: What the reader should know: repairs, guesses, fallbacks.
        seconds: How long the case took.
        picture: The montage (PNG), embedded in the report; None for none.
        spacing: Voxel spacing of the file's grid in mm, in the order of ``shape``.
        shape: Voxels of the file's grid; empty if the file could not be read.
    """

    case_id: str
    status: Literal["ok", "failed"]
    reason: str | None
    volumes_ml: Mapping[str, float]
    notes: Sequence[str]
    seconds: float
    picture: Path | None
    spacing: Sequence[float]
    shape: Sequence[int]

    def __post_init__(self) -> None:
        if self.status not in ("ok", "failed"):
            raise ValueError(f"the status of a case is 'ok' or 'failed', got {self.status!r}")


def write_prediction_report(
    path: str | os.PathLike,
    *,
    title: str,
    cases: Sequence[CaseReport],
    labels: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    """Write the report of a prediction run as one HTML page.

    Failed cases come first, in words; then what deserves a look (volumes that stand out, structures not found, notes);
    the volumes over the cohort and per case (sortable); a section per case with its montage; the settings.

    Args:
        path: The HTML file to write.
        title: Heading.
        cases: All cases, in the order to show them.
        labels: Structure names; the index is the label value, ``labels[0]`` is the background and not reported.
        settings: What a reader needs to repeat the run (model, hash of the weights, spacing, overlap, device,
            versions).

    Raises:
        ValueError: if a case has a volume for a name that is not in ``labels``.
        OutputError: if the file cannot be written.
    """
    unknown = sorted({name for case in cases for name in case.volumes_ml} - set(labels))
    if unknown:
        raise ValueError(f"volumes for names that are not among the labels: {', '.join(unknown)}")
    done = [case for case in cases if case.status == "ok"]
    failed = [case for case in cases if case.status == "failed"]
    structures = [_Structure.over(done, name, index) for index, name in enumerate(labels) if index > 0]
    write_page(
        path,
        "volume_predictions",
        title=title,
        lead=_lead(len(done), len(failed), sum(case.seconds for case in cases)),
        failed=[_failed_view(case) for case in failed],
        remarks=_remarks(done, structures),
        cohort=[structure.row() for structure in structures] if len(done) > 1 else [],
        structures=[structure.name for structure in structures],
        cases=[_case_view(case, structures, place) for place, case in enumerate(done)],
        judged=any(structure.outliers for structure in structures),
        limit=f"{OUTLIER:g}",
        settings=[(name, _show(value)) for name, value in settings.items()],
    )


def write_training_report(
    path: str | os.PathLike,
    *,
    title: str,
    facts: Mapping[str, Any],
    curves_png: Path | None,
    rows: Sequence[Mapping[str, Any]],
    pictures: Sequence[Path],
    prediction: CaseReport | None,
    labels: Sequence[str] = (),
) -> None:
    """Write the report of a training as one HTML page: facts, scores, curves, validation slices, an unseen volume.

    Args:
        path: The HTML file to write.
        title: Heading.
        facts: Model, data and how it was trained, as name -> value.
        curves_png: Picture of :func:`densekit.visualization.shared.curves.write_curves`; None for none.
        rows: Rows of the score table, each column -> value, usually one row per structure and one for the mean.
            Numbers in columns whose name contains "dice" are drawn as bars from 0 to 1 as well. Empty for no table.
        pictures: Validation pictures, in the order to show them; the file name is the caption.
        prediction: A volume that was never seen in training, as it was predicted; None for none.
        labels: Structure names by label value, for the colours of the volumes of ``prediction``.

    Raises:
        OutputError: if the file cannot be written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    embedded = [{"name": Path(picture).stem.replace("_", " "), "data": _embed(picture)} for picture in pictures]
    unseen = None
    if prediction is not None and prediction.status == "failed":
        unseen = _failed_view(prediction)
    elif prediction is not None:
        index = {name: value for value, name in enumerate(labels)}
        structures = [
            _Structure.over([prediction], name, index.get(name, place))
            for place, name in enumerate(prediction.volumes_ml, start=1)
        ]
        unseen = _case_view(prediction, structures, 0)
    write_page(
        path,
        "volume_training",
        title=title,
        facts=[(name, _show(value)) for name, value in facts.items()],
        score_columns=columns,
        scores=[[_score_cell(name, row.get(name)) for name in columns] for row in rows],
        curves=_embed(curves_png) if curves_png else None,
        pictures=[picture for picture in embedded if picture["data"]],
        unseen=unseen,
    )


@dataclass(frozen=True)
class _Structure:
    """One structure over the cases that did not fail."""

    name: str
    color: str
    volumes: list[float | None]
    summary: VolumeSummary
    outliers: dict[int, float]

    @classmethod
    def over(cls, done: Sequence[CaseReport], name: str, index: int) -> _Structure:
        volumes = [case.volumes_ml.get(name) for case in done]
        known = [volume for volume in volumes if volume is not None]
        return cls(name, css_color(index), volumes, summarize(known), find_outliers(volumes))

    def text(self, volume: float | None) -> str:
        """Write a volume with as many decimals as the size of the structure asks for."""
        if volume is None:
            return "–"
        largest = self.summary.maximum or 0.0
        return f"{volume:.{1 if largest >= 10 else 2 if largest >= 1 else 3}f}"

    def row(self) -> dict[str, Any]:
        """Return the structure's row in the cohort table."""
        s = self.summary
        figures = [self.text(value) for value in (s.mean, s.sd, s.minimum, s.maximum)]
        dots = [
            {"at": round(100 * volume / s.maximum, 1), "odd": place in self.outliers}
            for place, volume in enumerate(self.volumes)
            if volume
        ]
        found = {"found": s.found, "cases": s.cases}
        return {"name": self.name, "color": self.color, "figures": figures, "dots": dots, **found}

    def cell(self, place: int) -> dict[str, Any]:
        """Return the volume of one case."""
        volume = self.volumes[place]
        odd = None
        if place in self.outliers:
            odd = f"cohort median {self.text(self.summary.median)} ml, robust z {self.outliers[place]:+.1f}"
        return {
            "name": self.name,
            "color": self.color,
            "value": volume,
            "text": "not found" if volume == 0 else self.text(volume),
            "found": bool(volume),
            "odd": odd,
            "high": self.outliers.get(place, 0) > 0,
        }


def _lead(done: int, failed: int, seconds: float) -> str:
    scans = done + failed
    counted = f"{scans} scan{'s' if scans != 1 else ''}: {done} segmented"
    if failed:
        counted += f", {failed} failed"
    return f"{counted}, in {show_duration(seconds)}."


def _remarks(done: Sequence[CaseReport], structures: Sequence[_Structure]) -> list[str]:
    """Say in sentences which volumes stand out, which structures were not found, and which cases have notes."""
    remarks = []
    for structure in structures:
        for place in structure.outliers:
            cell = structure.cell(place)
            remarks.append(f"{done[place].case_id}: {structure.name} {cell['text']} ml stands out ({cell['odd']})")
    nowhere = []
    for structure in structures:
        lacking = [done[place].case_id for place, volume in enumerate(structure.volumes) if volume == 0]
        if lacking and len(lacking) == len(done) > 1:
            nowhere.append(structure.name)
        elif lacking:
            remarks.append(f"{structure.name} was not found in {_listed(lacking)}")
    if nowhere:
        remarks.append(f"Not found in any case: {', '.join(nowhere)}")
    noted = [case.case_id for case in done if case.notes]
    if noted:
        remarks.append(f"There are notes on {_listed(noted)}")
    return remarks


def _listed(ids: Sequence[str]) -> str:
    rest = len(ids) - _LISTED
    return ", ".join(ids[:_LISTED]) + (f" and {rest} more cases" if rest > 0 else "")


def _failed_view(case: CaseReport) -> dict[str, Any]:
    return {"failed": True, "id": case.case_id, "reason": case.reason or "no reason was given", "notes": case.notes}


def _case_view(case: CaseReport, structures: Sequence[_Structure], place: int) -> dict[str, Any]:
    picture = _embed(case.picture) if case.picture else None
    size = " × ".join(str(n) for n in case.shape)
    spacing = " × ".join(f"{mm:.3g}" for mm in case.spacing)
    return {
        "failed": False,
        "id": case.case_id,
        "anchor": f"case-{place + 1}",  # a case id may hold anything; an anchor may not
        "grid": f"{size} voxels of {spacing} mm" if case.shape else "grid not recorded",
        "time": show_duration(case.seconds),
        "picture": picture,
        "picture_missing": case.picture is not None and picture is None,
        "volumes": [structure.cell(place) for structure in structures],
        "notes": case.notes,
    }


def _score_cell(column: str, value: Any) -> dict[str, str | None]:
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    bar = number and "dice" in column.lower() and 0 <= value <= 1
    text = f"{value:.3f}" if number and not isinstance(value, Integral) else _show(value)
    return {"text": text, "part": f"{100 * value:.1f}%" if bar else None}


def _show(value: Any) -> str:
    """Write a setting as a reader expects it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return "–" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_show(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_show(item) for item in value)
    return str(value)


def _embed(picture: str | os.PathLike) -> str | None:
    """Return a picture as a data URI; None, and a line in the log, if it cannot be read."""
    image = open_upright(str(picture))
    if image is None:
        logger.warning("%s: left out of the report, cannot be read as a picture", picture)
        return None
    return data_uri(image)
