"""Small pictures of images with boxes and outlines, ready to be put into a page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps, features

from densekit.errors import DataError
from densekit.io.images import is_deep, load_image
from densekit.visualization.shared.palette import Color
from densekit.visualization.shared.sheet import draw_frame

ALARM: Color = (0xE1, 0x4B, 0x3C)
LIKELY: Color = (0xF5, 0xF0, 0x6A)
_BEYOND: Color = (150, 154, 162)  # what a crop shows beyond the border of the image
_CONTEXT = 1.5  # a crop shows so much around its boxes, as a multiple of their size
_LEAST = 96  # pixels of the original that a crop shows at least
_WEBP_LONGEST = 16383  # pixels of width or height: the format holds no more


def open_upright(path: str) -> Image.Image | None:
    """Return an image in RGB as it is meant to be seen (EXIF applied), or None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if is_deep(image):  # Pillow would cut it off at 255, or keep the upper 8 bits
                    return load_image(Path(path)).rgb()
                return ImageOps.exif_transpose(image).convert("RGB")
    except Image.UnidentifiedImageError:  # floating-point colours, which training reads
        try:
            return load_image(Path(path)).rgb()
        except DataError:
            return None
    except (OSError, ValueError, SyntaxError, DataError, Image.DecompressionBombError):
        return None


def crop_around(
    image: Image.Image,
    boxes: Sequence[Sequence[float]],
    outlines: Sequence[Sequence[float]] = (),
    *,
    likely: Sequence[Sequence[float]] = (),
    size: tuple[int, int] = (300, 220),
) -> Image.Image:
    """Return the part of an image around boxes, with boxes and outlines drawn; the whole image if there are none.

    Args:
        image: RGB.
        boxes: Each ``(x1, y1, x2, y2)`` in pixels. They may reach over the border: grey is shown there.
        outlines: Polygons ``(x1, y1, x2, y2, x3, ...)`` in pixels, filled with a transparent colour.
        likely: Where the boxes are likely meant to be, in another colour.
        size: Width and height of the result, at most.
    """
    left, top, right, bottom = _view(image.size, [*boxes, *likely])
    factor = min(size[0] / (right - left), size[1] / (bottom - top), 4.0)
    canvas = Image.new("RGB", (right - left, bottom - top), _BEYOND)
    canvas.paste(image.crop((max(left, 0), max(top, 0), right, bottom)), (max(-left, 0), max(-top, 0)))
    if right > image.width or bottom > image.height:
        _grey_out(canvas, image.width - left, image.height - top)
    shown = canvas.resize(
        (max(1, round(canvas.width * factor)), max(1, round(canvas.height * factor))), _filter(factor)
    )
    if outlines:
        overlay = shown.copy()
        draw = ImageDraw.Draw(overlay)
        for polygon in outlines:
            moved = [(v - (top if i % 2 else left)) * factor for i, v in enumerate(polygon)]
            draw.polygon(moved, fill=ALARM, outline=(255, 255, 255))
        shown = Image.blend(shown, overlay, 0.6)
    draw = ImageDraw.Draw(shown)
    for box, color in [*((box, ALARM) for box in boxes), *((box, LIKELY) for box in likely)]:
        x1, y1, x2, y2 = ((v - o) * factor for v, o in zip(box, (left, top, left, top), strict=True))
        # One that lies far away is a mark at the edge on its side.
        x1, x2 = (min(max(x, -2), shown.width - 2) for x in (x1, x2))
        y1, y2 = (min(max(y, -2), shown.height - 2) for y in (y1, y2))
        draw_frame(draw, (x1, y1, x2, y2), color)
    return shown


def _grey_out(canvas: Image.Image, width: int, height: int) -> None:
    draw = ImageDraw.Draw(canvas)
    if width < canvas.width:
        draw.rectangle((width, 0, canvas.width, canvas.height), fill=_BEYOND)
    if height < canvas.height:
        draw.rectangle((0, height, canvas.width, canvas.height), fill=_BEYOND)


def _view(size: tuple[int, int], boxes: Sequence[Sequence[float]]) -> tuple[int, int, int, int]:
    """Return the rectangle to show, in pixels of the image."""
    if not boxes:
        return (0, 0, *size)
    corners = np.array(boxes, dtype=np.float64)
    # A box a thousand pixels away would shrink the picture to a speck: it is shown at the edge of the view.
    corners = np.clip(corners, -0.5 * max(size), 1.5 * max(size))
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    if (high <= 0).any() or (low >= size).any():  # wholly outside: show where, beside the whole image
        low, high = np.minimum(low, 0), np.maximum(high, size)
    middle, half = (low + high) / 2, np.maximum((high - low) * (0.5 + _CONTEXT / 2), _LEAST / 2)
    half = np.maximum(half, half.max() / 1.8)  # no slivers
    beyond = 0.15 * (high - low)
    start = np.maximum(middle - half, np.where(low < 0, low - beyond, 0))
    end = np.minimum(middle + half, np.where(high > size, high + beyond, size))
    if (end - start < 2).any():
        return (0, 0, *size)
    return tuple(int(v) for v in (*np.floor(start), *np.ceil(end)))


def _filter(factor: float) -> Image.Resampling:
    return Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC


def data_uri(image: Image.Image) -> str:
    """Return a picture as a data URI.

    As WebP where that can be: a third of the bytes of a PNG, and a report may hold hundreds of pictures.
    """
    kind = "webp" if features.check("webp") and max(image.size) <= _WEBP_LONGEST else "png"
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **({"quality": 82} if kind == "webp" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
