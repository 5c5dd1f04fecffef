"""Pictures of the detection report: precision against recall, the confusion matrix, truth beside detections."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from densekit.visualization.detection.objects import draw_detections
from densekit.visualization.shared.mosaic import side_by_side
from densekit.visualization.shared.palette import css_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from densekit.evaluation.detection import Comparison, Confusion, PRCurve, WorstImage

_INK, _FAINT, _GREY, _GOOD, _BAD = "#1f2430", "#8b93a3", "#b9c0cc", "#2f8f5b", "#c2381a"
_MARK = (0xD6, 0x1F, 0x1F)
_COLOURED = 10  # so many classes get a colour and a line in the legend; of more, the extremes
_EXTREMES = 5
_WHOLE = 30  # classes of a confusion matrix that is drawn whole
_PART = 24  # classes that are drawn of a larger one
_TILE = (440, 360)


def draw_curves(curves: Mapping[float, Mapping[str, PRCurve]]) -> Image.Image:
    """Draw precision against recall of each class and their mean, beside each other for each IoU.

    Of more than ten classes all are drawn thin, the five best and the five worst in colour and named.

    Args:
        curves: IoU -> class name -> curve, the classes in the order of their labels.
    """
    figure = _figure(6.2 * len(curves), 4.9)
    grid = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (iou, by_class) in zip(grid, curves.items(), strict=True):
        _style(axes, f"IoU {iou:g}")
        drawn = [(label, name, c) for label, (name, c) in enumerate(by_class.items()) if c.objects]
        if drawn:
            _draw_classes(axes, drawn)
        else:
            axes.text(0.5, 0.5, "no objects", ha="center", va="center", color=_FAINT)
    grid[0].set_ylabel("precision", color=_FAINT)
    return _picture(figure)


def _draw_classes(axes: Axes, drawn: Sequence[tuple[int, str, PRCurve]]) -> None:
    recalls = np.linspace(0, 1, 101)
    many = len(drawn) > _COLOURED
    ranked = sorted(drawn, key=lambda item: -item[2].AP)
    for label, name, curve in ranked:
        color = _GREY if many else css_color(label + 1)
        text = None if many else _legend_text(name, curve.AP)
        axes.plot(recalls, curve.interpolated, color=color, linewidth=0.8 if many else 1.6, label=text, alpha=0.9)
    if many:
        for group, tone in ((ranked[:_EXTREMES], _GOOD), (ranked[-_EXTREMES:], _BAD)):
            for place, (_, name, curve) in enumerate(group):
                dash = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))][place]
                text = _legend_text(name, curve.AP)
                axes.plot(recalls, curve.interpolated, color=tone, linewidth=1.5, linestyle=dash, label=text)
    mean = np.mean([curve.interpolated for _, _, curve in drawn], axis=0)
    average = float(np.mean([curve.AP for _, _, curve in drawn]))
    if len(drawn) > 1:
        axes.plot(recalls, mean, color=_INK, linewidth=2.6, label=_legend_text("mean of all", average))
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(
        handles=[*handles[-1:], *handles[:-1]] if len(drawn) > 1 else handles,
        title=f"AP; best and worst of {len(drawn)}" if many else "AP",
        title_fontsize=8.5,
        fontsize=8.5,
        frameon=False,
        labelcolor=_INK,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        handlelength=1.8,
    )


def _legend_text(name: str, value: float) -> str:
    short = name if len(name) <= 22 else f"{name[:21]}…"
    return f"{value:.3f}  {short}".replace("$", r"\$")


def draw_confusion(confusion: Confusion) -> tuple[Image.Image, int]:
    """Draw a confusion matrix: a row for what it is, its colour the share of the row.

    Classes that do not occur are left out; of more than 30 others, those 24 with most mistakes between classes are
    drawn, the rest as one.

    Returns:
        The picture, and how many classes stand for themselves in it.
    """
    names, counts, drawn = condense(confusion)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, counts / np.maximum(total, 1), 0.0)
    side = 1.6 + 0.42 * len(names) if len(names) < 18 else 10.5
    longest = max(len(name) for name in names)
    figure = _figure(max(side + 0.08 * longest, 4.5), max(side, 3.4))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    points = 9 if len(names) < 18 else 7.5
    for row, column in np.argwhere(counts > 0):
        color = "white" if shares[row, column] > 0.55 else _INK
        axes.text(column, row, _short(counts[row, column]), ha="center", va="center", fontsize=points - 1, color=color)
    ticks = np.arange(len(names))
    labels = [name.replace("$", r"\$") for name in names]
    axes.set_xticks(ticks, labels, rotation=90 if longest > 3 else 0, fontsize=points)
    axes.set_yticks(ticks, labels, fontsize=points)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("taken for", color=_FAINT)
    axes.set_ylabel("it is", color=_FAINT)
    axes.tick_params(length=0, colors=_INK)
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="#e6e9ef", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_color("#c7ccd6")
    return _picture(figure), drawn


def condense(confusion: Confusion) -> tuple[list[str], np.ndarray, int]:
    """Return names and counts to draw, and how many classes stand for themselves in them.

    Classes of which there is nothing and nothing was found are left out; of too many others the most mistaken are kept.
    """
    counts = confusion.counts
    classes = len(counts) - 1
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in confusion.names]
    kept = np.flatnonzero((counts.sum(axis=0) + counts.sum(axis=1))[:-1] > 0)
    rest = 0
    if len(kept) > _WHOLE:
        between = counts[:-1, :-1].copy()
        np.fill_diagonal(between, 0)
        mistakes = (between.sum(axis=0) + between.sum(axis=1))[kept]
        rest = len(kept) - _PART
        kept = np.sort(kept[np.argsort(-mistakes, kind="stable")[:_PART]])
    group = np.full(classes + 1, len(kept))
    group[kept] = np.arange(len(kept))
    others = [f"{rest} other classes"] if rest else []
    group[-1] = len(kept) + len(others)
    drawn = np.zeros((group[-1] + 1, group[-1] + 1), dtype=np.int64)
    np.add.at(drawn, (group[:, None], group[None, :]), counts)
    return [*(names[k] for k in kept), *others, names[-1]], drawn, len(kept)


def draw_pair(image: Image.Image, comparison: Comparison, worst: WorstImage, threshold: float) -> Image.Image:
    """Draw the objects of an image beside what was found in it, with a red disc at each that is not found, or wrong.

    Args:
        image: RGB.
        comparison: What the places in ``worst`` are from.
        worst: What is wrong in the image.
        threshold: Score from which detections count, for the title.
    """
    truth, found = comparison.truth, comparison.detections
    masks = comparison.iou_type == "segm"
    sides = []
    for side, rows, outlines, wrong in (
        (truth, worst.objects, truth.masks, worst.unfound),
        (found, worst.detections, found.masks, worst.false),
    ):
        boxes = side.xyxy[rows]
        drawn = draw_detections(
            image,
            boxes,
            side.labels[rows],
            found.scores[rows] if side is found else None,
            [outlines[row] for row in rows] if masks else None,
            truth.names,
            size=_TILE,
            ignored=truth.crowd[rows] if side is truth else None,
        )
        _mark(drawn, boxes[wrong] * drawn.width / image.width)
        sides.append(drawn)
    return side_by_side(*sides, ("there", f"found, from {threshold:.2f}"))


def _mark(picture: Image.Image, boxes: np.ndarray) -> None:
    """Put a red disc into the upper right corner of each box."""
    draw = ImageDraw.Draw(picture)
    for x1, y1, x2, y2 in boxes:
        radius = float(np.clip(min(x2 - x1, y2 - y1) / 4, 2.5, 5.5))
        x = np.clip(x2 - radius - 2, radius + 1, picture.width - radius - 1)
        y = np.clip(y1 + radius + 2, radius + 1, picture.height - radius - 1)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_MARK, outline=(255, 255, 255))


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def _figure(width: float, height: float) -> Figure:
    # Figure objects, not pyplot: no global state, no display, safe beside whatever the caller draws.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.set_xlabel("recall", color=_FAINT)
    axes.grid(True, color="#e6e9ef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c7ccd6")
    axes.tick_params(colors=_FAINT, labelsize=9)


def _picture(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
