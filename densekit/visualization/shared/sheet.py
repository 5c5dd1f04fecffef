"""Sheets: pictures beside and below each other on a dark ground, with text that fits its place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from densekit.io.atomic import atomic_path
from densekit.visualization.shared.overlay import overlay
from densekit.visualization.shared.palette import OUTLINES, Color, label_color, outline

GAP = 10
MARGIN = 18
SMALL, LARGE = 17, 24  # text sizes in pixels
BACKGROUND: Color = (18, 19, 22)
TEXT: Color = (232, 233, 236)
FAINT: Color = (160, 163, 170)


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of all pictures; ``size`` in pixels."""
    # Matplotlib brings DejaVu Sans along, so the text looks the same on every machine and knows more than ASCII.
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def one_line(text: str) -> str:
    """Return text that can be drawn: without line breaks and without what is not Unicode."""
    # A file name that is not UTF-8 reaches us with lone surrogates, which cannot be drawn.
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def fit(text: str, size: int, width: int) -> str:
    """Shorten ``text`` with an ellipsis until it is at most ``width`` pixels wide."""
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def text_block(lines: Sequence[tuple[str, int, Color]], width: int) -> Image.Image:
    """Draw lines of text, each with its size in pixels and colour, shortened to ``width``."""
    canvas = Image.new("RGB", (width, max(1, sum(size + 8 for _, size, _ in lines))), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    y = 0
    for text, size, color in lines:
        draw.text((0, y), fit(text, size, width), font=font(size), fill=color)
        y += size + 8
    return canvas


def beside(blocks: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Put pictures beside each other, aligned at the top."""
    size = (sum(block.width + gap for block in blocks) - gap, max(block.height for block in blocks))
    canvas = Image.new("RGB", size, BACKGROUND)
    x = 0
    for block in blocks:
        canvas.paste(block, (x, 0))
        x += block.width + gap
    return canvas


def below(blocks: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Put pictures below each other, aligned at the left."""
    size = (max(block.width for block in blocks), sum(block.height + gap for block in blocks) - gap)
    canvas = Image.new("RGB", size, BACKGROUND)
    y = 0
    for block in blocks:
        canvas.paste(block, (0, y))
        y += block.height + gap
    return canvas


def legend(
    entries: Sequence[tuple[int, str]],
    width: int,
    *,
    outlines: bool = False,
    colors: Mapping[int, Color] | None = None,
) -> Image.Image:
    """Draw colours and names, in columns that are read downwards.

    Args:
        entries: Label value and name.
        width: Pixels.
        outlines: Whether the areas have outlines, which then tell them apart too.
        colors: By label value; None: those of :func:`~densekit.visualization.shared.palette.label_color`.
    """
    colors = colors or {value: label_color(value) for value, _ in entries}
    swatch, line, gap = 16, 28, 24
    shown = [(value, one_line(name)) for value, name in entries]
    column = max((swatch + 10 + int(font(SMALL).getlength(name)) + gap for _, name in shown), default=width)
    columns = max(1, min((width + gap) // column, len(shown)))
    rows = -(-len(shown) // columns)
    canvas = Image.new("RGB", (width, max(1, line * rows)), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for i, (value, name) in enumerate(shown):
        x, y = (i // rows) * column, (i % rows) * line
        if outlines and outline(value) != OUTLINES[0]:
            area = np.pad(np.full((swatch + 1, swatch + 1), value), 1)
            ground = np.full((*area.shape, 3), np.array(colors[value]) // 2, np.uint8) * (area > 0)[..., None]
            table = np.array([(0, 0, 0)] * value + [colors[value]])
            canvas.paste(Image.fromarray(overlay(ground.astype(np.uint8), area, colors=table)), (x - 1, y + 2))
        else:
            draw.rectangle((x, y + 3, x + swatch, y + 3 + swatch), fill=colors[value])
        draw.text((x + swatch + 10, y), fit(name, SMALL, width - swatch - 10), font=font(SMALL), fill=TEXT)
    return canvas


def fitting(picture: Image.Image, size: tuple[int, int], *, largest: float = 3.0) -> Image.Image:
    """Return a picture as large as fits into ``size`` (width, height), enlarged ``largest`` times at most."""
    factor = min(size[0] / picture.width, size[1] / picture.height, largest)
    if factor == 1:
        return picture.copy()
    resampling = Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), resampling)


def framed(sheet: Image.Image) -> Image.Image:
    """A sheet with a margin around it."""
    return ImageOps.expand(sheet, border=MARGIN, fill=BACKGROUND)


def save_sheet(path: str | os.PathLike, sheet: Image.Image) -> None:
    """Write a sheet as PNG, with a margin, by rename.

    Raises:
        OutputError: if the file cannot be written.
    """
    with atomic_path(path) as temporary:
        framed(sheet).save(temporary, format="PNG")


def draw_frame(
    draw: ImageDraw.ImageDraw, box: Sequence[float], color: Color, *, width: int = 2, edged: bool = True
) -> None:
    """Draw a box ``x1, y1, x2, y2``, with a black line around it if ``edged``; one without extent is shown as a dot."""
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    x2, y2 = max(x2 - 1, x1 + 2), max(y2 - 1, y1 + 2)
    if edged:
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(0, 0, 0))
    draw.rectangle((x1, y1, x2, y2), outline=color, width=width)
