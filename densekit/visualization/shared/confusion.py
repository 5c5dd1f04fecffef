"""The confusion matrix on white paper: what is taken for what."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#1f2430", "#8b93a3"
_WHOLE = 30  # classes of a matrix that is drawn whole
_PART = 24  # classes that are drawn of a larger one


def draw_confusion(
    names: Sequence[str], counts: np.ndarray, *, background: bool = False, percent: bool = False
) -> tuple[Image.Image, int]:
    """Draw a confusion matrix: a row for what it is, its colour the share of the row.

    Classes that do not occur are left out; of more than 30 others, those 24 with most mistakes between classes are
    drawn, the rest as one.

    Args:
        names: ``K`` class names; with ``background`` another one.
        counts: Of each row and column, whole numbers.
        background: Whether the last row and column are no class: they are drawn whatever there is.
        percent: Whether shares of the row are written, not counts.

    Returns:
        The picture, and how many classes stand for themselves in it.
    """
    names, counts, drawn = condense(names, counts, background=background)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, counts / np.maximum(total, 1), 0.0)
    side = 1.6 + 0.42 * len(names) if len(names) < 18 else 10.5
    longest = max((len(name) for name in names), default=0)
    figure = paper_figure(max(side + 0.08 * longest, 4.5), max(side, 3.4))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    points = 9 if len(names) < 18 else 7.5
    for row, column in np.argwhere(counts > 0):
        color = "white" if shares[row, column] > 0.55 else INK
        text = _percent(shares[row, column]) if percent else _short(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", fontsize=points - 1, color=color)
    ticks = np.arange(len(names))
    labels = [name.replace("$", r"\$") for name in names]
    axes.set_xticks(ticks, labels, rotation=90 if longest > 3 else 0, fontsize=points)
    axes.set_yticks(ticks, labels, fontsize=points)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("taken for", color=FAINT)
    axes.set_ylabel("it is", color=FAINT)
    axes.tick_params(length=0, colors=INK)
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="#e6e9ef", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_color("#c7ccd6")
    return drawn_figure(figure), drawn


def condense(
    names: Sequence[str], counts: np.ndarray, *, background: bool = False
) -> tuple[list[str], np.ndarray, int]:
    """Return names and counts to draw, and how many classes stand for themselves in them.

    Classes of which there is nothing and nothing was found are left out; of too many others the most mistaken are kept.
    """
    classes = len(counts) - background
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
    kept = np.flatnonzero((counts.sum(axis=0) + counts.sum(axis=1))[:classes] > 0)
    rest = 0
    if len(kept) > _WHOLE:
        between = counts[:classes, :classes].copy()
        np.fill_diagonal(between, 0)
        mistakes = (between.sum(axis=0) + between.sum(axis=1))[kept]
        rest = len(kept) - _PART
        kept = np.sort(kept[np.argsort(-mistakes, kind="stable")[:_PART]])
    shown = [*(names[k] for k in kept), *[f"{rest} other classes"] * (rest > 0), *names[classes:]]
    group = np.full(len(counts), len(kept))  # what does not occur adds nothing there
    group[kept] = np.arange(len(kept))
    group[classes:] = len(shown) - 1
    drawn = np.zeros((len(shown) + 1,) * 2, dtype=np.int64)
    np.add.at(drawn, (group[:, None], group[None, :]), counts)
    return shown, drawn[: len(shown), : len(shown)], len(kept)


def paper_figure(width: float, height: float) -> Figure:
    """A figure on white paper, in inches."""
    # Figure objects, not pyplot: no global state, no display, safe beside whatever the caller draws.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def drawn_figure(figure: Figure) -> Image.Image:
    """The picture of a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.005 else ""
