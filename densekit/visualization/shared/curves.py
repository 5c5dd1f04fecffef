"""Training curves in one figure: loss, learning rate, and the validation score: Dice of volumes, AP of a detector."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from densekit.errors import DataError
from densekit.io.atomic import atomic_path
from densekit.visualization.shared.palette import css_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger("densekit")

COLUMNS = ("step", "epoch", "split", "name", "value")
_INK, _FAINT, _ACCENT = "#1f2430", "#8b93a3", "#2f6db5"
_IN_LEGEND = 20  # there is no room for more structures
_PARTS = 7  # no more parts of the loss are drawn

Series = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class ScoreCurve:
    """What the right half of the figure shows: ``val/<key>`` and, for every structure or class, ``val/<key>/<name>``.

    Attributes:
        key: The score whose best value is marked.
        title: Heading of its curve.
        each: Heading of the curves per structure or class.
        beside: Other scores drawn in the same axes.
        background: The first of the names is the background, which has no curve.
    """

    key: str
    title: str
    each: str
    beside: tuple[str, ...] = ()
    background: bool = False


def read_scalars(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> dict[str, list[tuple[float, float]]]:
    """Read the trainer's ``scalars.csv`` (columns step, epoch, split, name, value; one number a row).

    Several files, in the order they were written, make one record (a training that went on in another folder). A step
    that was logged twice, as after a resume from an older checkpoint, counts with its last value.

    Args:
        paths: One CSV file or several.

    Returns:
        ``"<split>/<name>"`` -> list of (step, value) in the order of steps, for example ``"val/dice/liver"``.

    Raises:
        DataError: if a file is missing or has other columns.
    """
    files = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
    series: dict[str, dict[float, float]] = {}
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected the scalars.csv that training writes into its work folder")
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path}: column {missing[0]!r} is missing; expected {','.join(COLUMNS)}, as training writes them"
                )
            for row in rows:
                try:
                    step, value = float(row["step"]), float(row["value"])
                except (TypeError, ValueError):  # a killed training leaves half a last line
                    logger.warning("%s: line %d is not a number of the log, left out", path, rows.line_num)
                    continue
                series.setdefault(f"{row['split']}/{row['name']}", {})[step] = value
    return {name: sorted(values.items()) for name, values in series.items()}


def write_curves(
    source: str | os.PathLike | Iterable[str | os.PathLike] | Mapping[str, Series],
    out_png: str | os.PathLike,
    *,
    score: ScoreCurve,
    names: Sequence[str] = (),
    title: str = "",
) -> None:
    """Draw loss, learning rate, the validation score and the score per structure or class over the training steps.

    Drawn are ``train/loss`` (raw and smoothed) and its parts ``train/loss_...`` (smoothed), ``val/loss``,
    ``train/lr``, ``val/<score>`` and every ``val/<score>/<class>``. Of what was not logged the figure says so.

    Args:
        source: CSV file(s) for :func:`read_scalars`, or series as it returns them.
        out_png: The PNG file to write.
        score: What the run is judged by.
        names: Structure names by label value, with the background first, or the detector's class names by label, so
            that each curve has the colour of its structure in the pictures. Without them structures are coloured in the
            order in which they were logged.
        title: Heading.

    Raises:
        DataError: if a CSV file cannot be used.
        OutputError: if the picture cannot be written.
    """
    # Figure objects, not pyplot: no global state, no display, safe beside whatever the caller draws.
    from matplotlib.figure import Figure

    series = source if isinstance(source, Mapping) else read_scalars(source)
    data = {name: np.array(points, float).reshape(-1, 2) for name, points in series.items()}
    figure = Figure(figsize=(12, 6.8), dpi=120, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    grid = figure.subplot_mosaic([["loss", "score"], ["lr", "structures"]], height_ratios=[1, 1])
    _draw_loss(grid["loss"], data)
    _draw_rate(grid["lr"], data)
    _draw_score(grid["score"], data, score)
    _draw_structures(grid["structures"], data, score, names[1:] if score.background else names)
    last = max((points[-1, 0] for points in data.values() if len(points)), default=1)
    for axes in grid.values():
        axes.set_xlim(0, 1.01 * max(last, 1))
    for axes in (grid["lr"], grid["structures"]):
        axes.set_xlabel("training step", color=_FAINT)
    if title:
        figure.suptitle(" ".join(title.split()), x=0.01, ha="left", color=_INK, fontsize=14, parse_math=False)
    with atomic_path(out_png) as temporary:
        figure.savefig(temporary, format="png")


def smooth(values: np.ndarray, span: float) -> np.ndarray:
    """Return the exponential moving average of ``values`` ``(N,)``, unbiased at the start.

    NaN and infinity are passed over.

    Args:
        values: What to smooth.
        span: Roughly how many values count (the weight of the newest is ``2 / (span + 1)``).
    """
    keep = 1 - 2 / (span + 1)
    smoothed = np.full(len(values), np.nan)
    total = weight = 0.0
    for i, value in enumerate(values):
        if np.isfinite(value):
            total, weight = keep * total + value, keep * weight + 1
        if weight:
            smoothed[i] = total / weight
    return smoothed


def _draw_loss(axes: Axes, data: Mapping[str, np.ndarray]) -> None:
    curves = {name: data[f"{name}/loss"] for name in ("train", "val") if f"{name}/loss" in data}
    _style(axes, "Loss", empty=not curves)
    if not curves:
        return
    parts = _draw_parts(axes, data)
    if "train" in curves:
        steps, values = curves["train"].T
        axes.plot(steps, np.where(np.isfinite(values), values, np.nan), color=_ACCENT, alpha=0.3, linewidth=0.8)
        smoothed = smooth(values, span=max(1.0, len(values) / 25))
        axes.plot(steps, smoothed, color=_ACCENT, linewidth=2, label="training (thin: as logged)")
    if "val" in curves:
        axes.plot(*curves["val"].T, color="#c2571a", linewidth=2, marker="o", markersize=3, label="validation")
    handles = axes.get_lines()
    handles = [line for line in handles if not line.get_label().startswith("_")]
    handles = handles[len(parts) :] + handles[: len(parts)]  # the whole before its parts
    columns = 1 + (len(parts) > 3)
    axes.legend(handles=handles, frameon=False, fontsize=9 if columns == 1 else 8, labelcolor=_INK, ncols=columns)
    values = np.concatenate([points[:, 1] for points in curves.values()])
    finite = values[np.isfinite(values)]
    if finite.size:
        # The first steps may be far above the rest and would flatten it: let 99 % of the values fill the axes.
        low, high = np.percentile(finite, (0, 99))
        low = min([low, *(np.nanmin(part) for part in parts)])
        margin = 0.05 * (high - low) or 0.1
        axes.set_ylim(low - margin, high + margin)
    if finite.size < values.size:
        text = f"NaN or infinite: {values.size - finite.size} of {values.size}"
        axes.set_title(text, loc="right", fontsize=10, color="#b3261e")


def _draw_parts(axes: Axes, data: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Draw what the loss is the sum of, if it is known; return the values drawn.

    The parts of later decoder layers and stages (``d0.loss_cls``, ``s1.loss_bbox``) are as many as the rest again: they
    are drawn only where there are no others.
    """
    names = [name for name in data if name.startswith("train/") and "loss_" in name and len(data[name])]
    names = [name for name in names if "." not in name] or names
    drawn = []
    for place, name in enumerate(names[:_PARTS] if len(names) > 1 else []):
        steps, values = data[name].T
        smoothed = smooth(values, span=max(1.0, len(values) / 25))
        if np.isfinite(smoothed).any():
            axes.plot(steps, smoothed, color=css_color(place + 3), linewidth=1.2, label=name.removeprefix("train/"))
            drawn.append(smoothed)
    return drawn


def _draw_rate(axes: Axes, data: Mapping[str, np.ndarray]) -> None:
    rate = data.get("train/lr")
    _style(axes, "Learning rate", empty=rate is None)
    if rate is not None:
        axes.plot(rate[:, 0], rate[:, 1], color=_ACCENT, linewidth=1.6)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", scilimits=(-4, 4), useMathText=True)


def _draw_score(axes: Axes, data: Mapping[str, np.ndarray], score: ScoreCurve) -> None:
    main = data.get(f"val/{score.key}")
    found = main is not None and bool(np.isfinite(main[:, 1]).any())
    _style(axes, score.title, empty=not found)
    if not found:
        return
    best = int(np.nanargmax(main[:, 1]))
    curves = [main]
    axes.plot(*main.T, color=_ACCENT, linewidth=2, marker="o", markersize=3, label=_words(score.key, score))
    axes.plot(*main[best], marker="o", markersize=8, markerfacecolor="none", markeredgecolor=_INK, clip_on=False)
    axes.set_title(f"best {main[best, 1]:.3f} at step {main[best, 0]:g}", loc="right", fontsize=10, color=_INK)
    for color, name in zip(("#7aa8d8", "#c2571a", "#e0a583"), score.beside, strict=False):
        points = data.get(f"val/{name}")
        if points is not None and np.isfinite(points[:, 1]).any():
            axes.plot(*points.T, color=color, linewidth=1.4, marker="o", markersize=2, label=_words(name, score))
            curves.append(points)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK, ncols=2)
    _score_limits(axes, curves, score)


def _words(name: str, score: ScoreCurve) -> str:
    """A score's name; where there are scores of masks too, with what it is of."""
    if not any(other.startswith("mask_") for other in (score.key, *score.beside)):
        return name
    return f"{name.removeprefix('mask_')} of {'masks' if name.startswith('mask_') else 'boxes'}"


def _draw_structures(axes: Axes, data: Mapping[str, np.ndarray], score: ScoreCurve, names: Sequence[str]) -> None:
    prefix = f"val/{score.key}/"
    curves = {name[len(prefix) :]: points for name, points in data.items() if name.startswith(prefix) and len(points)}
    _style(axes, score.each, empty=not curves)
    if not curves:
        return
    order = [name for name in names if name in curves] + [name for name in curves if name not in names]
    lines = []
    style = (
        {"linewidth": 1.6, "marker": "."}
        if len(order) <= _IN_LEGEND
        else {"linewidth": 0.8, "marker": ".", "markersize": 2}
    )
    for place, name in enumerate(order):
        index = list(names).index(name) + 1 if name in names else len(names) + place + 1
        points = curves[name]
        last = f"{points[-1, 1]:.3f}" if np.isfinite(points[-1, 1]) else "none"
        text = f"{name}  {last}".replace("$", r"\$")
        lines += axes.plot(points[:, 0], points[:, 1], color=css_color(index), label=text, **style)
    lines.sort(key=lambda line: -np.nan_to_num(line.get_ydata()[-1], nan=-1))
    _score_limits(axes, list(curves.values()), score)
    shown = lines[:_IN_LEGEND]
    more = f"\nand {len(lines) - len(shown)} more" if len(lines) > len(shown) else ""
    axes.legend(
        handles=shown,
        title="last value" + more,
        title_fontsize=9,
        fontsize=8 if len(shown) < 14 else 7,
        frameon=False,
        labelcolor=_INK,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        handlelength=1.2,
    )


def _score_limits(axes: Axes, curves: Sequence[np.ndarray], score: ScoreCurve) -> None:
    """Give Dice the whole range up to 1, but cut off the bottom that no curve has reached; others begin at 0."""
    values = np.concatenate([points[:, 1] for points in curves])
    values = values[np.isfinite(values)]
    if values.size and (values.min() < 0 or values.max() > 1):
        return  # no share: matplotlib's own range
    if score.background:
        low = np.floor(values.min() * 10) / 10 if values.size else 0.0
        axes.set_ylim(min(max(low, 0.0), 0.9), 1.0)
    else:  # an AP of 0.3 may be a good one
        high = np.ceil(values.max() * 10 + 0.5) / 10 if values.size else 1.0
        axes.set_ylim(0.0, min(max(high, 0.1), 1.0))


def _style(axes: Axes, title: str, *, empty: bool) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    axes.grid(True, color="#e6e9ef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c7ccd6")
    axes.tick_params(colors=_FAINT, labelsize=9)
    if empty:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", va="center", color=_FAINT)
        axes.set(xticks=[], yticks=[])
