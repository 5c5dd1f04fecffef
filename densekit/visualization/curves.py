"""Training curves: loss, learning rate and validation Dice in one figure."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from densekit.errors import DataError
from densekit.io.atomic import atomic_path
from densekit.visualization.palette import css_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger("densekit")

COLUMNS = ("step", "epoch", "split", "name", "value")
_INK, _FAINT, _ACCENT = "#1f2430", "#8b93a3", "#2f6db5"
_IN_LEGEND = 20  # there is no room for more structures

Series = Sequence[tuple[float, float]]


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
    names: Sequence[str] = (),
    title: str = "",
) -> None:
    """Draw loss, learning rate, mean validation Dice and Dice per structure over the training steps.

    Drawn are ``train/loss`` (raw and smoothed), ``val/loss``, ``train/lr``, ``val/dice`` and every
    ``val/dice/<structure>``; of what was not logged the figure says so.

    Args:
        source: CSV file(s) for :func:`read_scalars`, or series as it returns them.
        out_png: The PNG file to write.
        names: Structure names by label value, so that each curve has the colour of its structure in the pictures.
            Without them structures are coloured in the order in which they were logged.
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
    grid = figure.subplot_mosaic([["loss", "dice"], ["lr", "structures"]], height_ratios=[1, 1])
    _draw_loss(grid["loss"], data)
    _draw_rate(grid["lr"], data)
    _draw_dice(grid["dice"], data)
    _draw_structures(grid["structures"], data, names)
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
    if "train" in curves:
        steps, values = curves["train"].T
        axes.plot(steps, np.where(np.isfinite(values), values, np.nan), color=_ACCENT, alpha=0.3, linewidth=0.8)
        smoothed = smooth(values, span=max(1.0, len(values) / 25))
        axes.plot(steps, smoothed, color=_ACCENT, linewidth=2, label="training (thin: as logged)")
    if "val" in curves:
        axes.plot(*curves["val"].T, color="#c2571a", linewidth=2, marker="o", markersize=3, label="validation")
    axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    values = np.concatenate([points[:, 1] for points in curves.values()])
    finite = values[np.isfinite(values)]
    if finite.size:
        # The first steps may be far above the rest and would flatten it: let 99 % of the values fill the axes.
        low, high = np.percentile(finite, (0, 99))
        margin = 0.05 * (high - low) or 0.1
        axes.set_ylim(low - margin, high + margin)
    if finite.size < values.size:
        text = f"NaN or infinite: {values.size - finite.size} of {values.size}"
        axes.set_title(text, loc="right", fontsize=10, color="#b3261e")


def _draw_rate(axes: Axes, data: Mapping[str, np.ndarray]) -> None:
    rate = data.get("train/lr")
    _style(axes, "Learning rate", empty=rate is None)
    if rate is not None:
        axes.plot(rate[:, 0], rate[:, 1], color=_ACCENT, linewidth=1.6)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", scilimits=(-4, 4), useMathText=True)


def _draw_dice(axes: Axes, data: Mapping[str, np.ndarray]) -> None:
    dice = data.get("val/dice")
    if dice is not None and np.isfinite(dice[:, 1]).any():
        best = int(np.nanargmax(dice[:, 1]))
        _style(axes, "Validation Dice, mean", empty=False)
        axes.plot(dice[:, 0], dice[:, 1], color=_ACCENT, linewidth=2, marker="o", markersize=3)
        axes.plot(*dice[best], marker="o", markersize=8, markerfacecolor="none", markeredgecolor=_INK, clip_on=False)
        axes.set_title(f"best {dice[best, 1]:.3f} at step {dice[best, 0]:g}", loc="right", fontsize=10, color=_INK)
        _dice_limits(axes, [dice])
    else:
        _style(axes, "Validation Dice, mean", empty=True)


def _draw_structures(axes: Axes, data: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
    prefix = "val/dice/"
    curves = {name[len(prefix) :]: points for name, points in data.items() if name.startswith(prefix) and len(points)}
    _style(axes, "Validation Dice per structure", empty=not curves)
    if not curves:
        return
    order = [name for name in names[1:] if name in curves] + [name for name in curves if name not in names[1:]]
    lines = []
    for place, name in enumerate(order):
        index = list(names).index(name) if name in names[1:] else len(names[1:]) + place + 1
        points = curves[name]
        last = f"{points[-1, 1]:.3f}" if np.isfinite(points[-1, 1]) else "none"
        text = f"{name}  {last}".replace("$", r"\$")
        lines += axes.plot(points[:, 0], points[:, 1], color=css_color(index), linewidth=1.6, marker=".", label=text)
    lines.sort(key=lambda line: -np.nan_to_num(line.get_ydata()[-1], nan=-1))
    _dice_limits(axes, list(curves.values()))
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


def _dice_limits(axes: Axes, curves: Sequence[np.ndarray]) -> None:
    """Give Dice the whole range up to 1, but cut off the bottom that no curve has reached."""
    values = np.concatenate([points[:, 1] for points in curves])
    values = values[np.isfinite(values)]
    low = np.floor(values.min() * 10) / 10 if values.size else 0.0
    axes.set_ylim(min(max(low, 0.0), 0.9), 1.0)


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
