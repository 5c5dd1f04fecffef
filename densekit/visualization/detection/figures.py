"""Pictures of the detection report: precision against recall, truth beside detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from densekit.visualization.detection.objects import draw_detections
from densekit.visualization.shared.confusion import FAINT, INK, drawn_figure, paper_figure
from densekit.visualization.shared.mosaic import side_by_side
from densekit.visualization.shared.palette import css_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from densekit.evaluation.detection import Comparison, PRCurve, WorstImage

_GREY, _GOOD, _BAD = "#b9c0cc", "#2f8f5b", "#c2381a"
_MARK = (0xD6, 0x1F, 0x1F)
_COLOURED = 10  # so many classes get a colour and a line in the legend; of more, the extremes
_EXTREMES = 5
_TILE = (440, 360)


def draw_curves(curves: Mapping[float, Mapping[str, PRCurve]]) -> Image.Image:
    """Draw precision against recall of each class and their mean, beside each other for each IoU.

    Of more than ten classes all are drawn thin, the five best and the five worst in colour and named.

    Args:
        curves: IoU -> class name -> curve, the classes in the order of their labels.
    """
    figure = paper_figure(6.2 * len(curves), 4.9)
    grid = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (iou, by_class) in zip(grid, curves.items(), strict=True):
        _style(axes, f"IoU {iou:g}")
        drawn = [(label, name, c) for label, (name, c) in enumerate(by_class.items()) if c.objects]
        if drawn:
            _draw_classes(axes, drawn)
        else:
            axes.text(0.5, 0.5, "no objects", ha="center", va="center", color=FAINT)
    grid[0].set_ylabel("precision", color=FAINT)
    return drawn_figure(figure)


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
        axes.plot(recalls, mean, color=INK, linewidth=2.6, label=_legend_text("mean of all", average))
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(
        handles=[*handles[-1:], *handles[:-1]] if len(drawn) > 1 else handles,
        title=f"AP; best and worst of {len(drawn)}" if many else "AP",
        title_fontsize=8.5,
        fontsize=8.5,
        frameon=False,
        labelcolor=INK,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        handlelength=1.8,
    )


def _legend_text(name: str, value: float) -> str:
    short = name if len(name) <= 22 else f"{name[:21]}…"
    return f"{value:.3f}  {short}".replace("$", r"\$")


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


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.set_xlabel("recall", color=FAINT)
    axes.grid(True, color="#e6e9ef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c7ccd6")
    axes.tick_params(colors=FAINT, labelsize=9)
