"""Pictures of a volume with its labels: a montage per case, and a sheet of validation slices during training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from densekit.visualization.shared.sheet import (
    BACKGROUND,
    FAINT,
    GAP,
    LARGE,
    MARGIN,
    SMALL,
    TEXT,
    below,
    fit,
    font,
    legend,
    one_line,
    save_sheet,
    text_block,
)
from densekit.visualization.volume.slices import (
    PLANES,
    PlaneName,
    center_of_mass,
    choose_axial,
    display_window,
    label_counts,
    panel_size,
    render_slice,
)

_PANEL = 400  # pixels of the longer side of an axial slice
_TALLEST = 1.5  # a coronal slice may be this much longer than an axial one before the scale shrinks
_CAPTION = 26
_LEGEND = 400  # the legend stands to the right of the last row if there are so many pixels, else below
_THINNEST = 24  # a view with fewer pixels than this (a volume of very few slices) shows nothing
_PER_ROW = 4


@dataclass(frozen=True)
class ValidationRow:
    """One case of a :func:`validation_picture`, drawn: its volumes need not be kept.

    Attributes:
        picture: Image, prediction and reference on one axial slice.
        labels: Labels that occur in prediction or reference.
    """

    picture: Image.Image
    labels: frozenset[int]

    @classmethod
    def draw(
        cls, case_id: str, image: np.ndarray, prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]
    ) -> ValidationRow:
        """Draw the slice that holds most of the reference (of the prediction, where the reference is empty).

        Args:
            case_id: Name of the row.
            image: One channel, ``(D, H, W)``, any intensities.
            prediction: Label map, ``(D, H, W)`` integer.
            reference: Label map, ``(D, H, W)`` integer.
            spacing: Voxel spacing (D, H, W) in mm.

        Raises:
            ValueError: for arrays that do not fit together.
        """
        _check(image, prediction, reference)
        index = _fullest_slice(reference, prediction)
        scale, window = _pixels_per_mm(image.shape, spacing), display_window(image)
        tiles = []
        for name, labels in {"image": None, "prediction": prediction, "reference": reference}.items():
            panel = render_slice(image, labels, "axial", index, spacing=spacing, pixels_per_mm=scale, window=window)
            tiles.append(_Tile(_mark(panel, "axial", scale), name))
        row = _beside(tiles)
        position = f"{one_line(case_id)}   axial {index + 1} / {len(image)}"
        picture = below([text_block([(position, SMALL, TEXT)], row.width), row], gap=0)
        return cls(picture, _labels_of(prediction, reference))


@dataclass(frozen=True)
class _Tile:
    """A picture with a caption above it, or without one and ``top`` pixels further down."""

    picture: Image.Image
    caption: str = ""
    top: int = 0

    @property
    def offset(self) -> int:
        """Pixels from the top of the tile to the top of the picture."""
        return _CAPTION if self.caption else self.top

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width = max(self.picture.width, int(font(SMALL).getlength(self.caption)) + 1)
        return width, self.picture.height + self.offset


def montage(
    image: np.ndarray,
    labels: np.ndarray | None,
    *,
    names: Sequence[str],
    spacing: Sequence[float],
    reference: np.ndarray | None = None,
    title: str = "",
    remark: str = "",
    window: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw a volume with its labels: four axial slices, one coronal and one sagittal, all at one scale.

    The axial slices are spread over the slices that hold labels and chosen to show as many structures as can be;
    the other two go through the centre of all labelled voxels. Display is radiological (patient's right on the
    viewer's left).

    Args:
        image: Canonical volume, ``(D, H, W)``, native intensities.
        labels: Label map, ``(D, H, W)`` integer; None for a picture of the image alone.
        names: Structure names; the index is the label value, ``names[0]`` is the background.
        spacing: Voxel spacing (D, H, W) in mm.
        reference: Reference label map, ``(D, H, W)`` integer. Every slice is then shown twice, prediction and
            reference side by side.
        title: Heading, usually the case id.
        remark: What to know of it, in one line below the title.
        window: Intensities shown as black and white. Default: soft tissue (-160 to 240 HU) for CT, else the 0.5 and
            99.5 percentiles.

    Raises:
        ValueError: if the arrays do not have one shape or the label maps are not integer.
    """
    _check(image, labels, reference)
    maps = [m for m in (labels, reference) if m is not None]
    window = window or display_window(image)
    scale = _pixels_per_mm(image.shape, spacing)
    sources = {"": labels} if reference is None else {"prediction": labels, "reference": reference}

    tiles = []
    for plane, index in _choose_views(maps, image.shape, spacing, scale):
        for name, source in sources.items():
            panel = render_slice(image, source, plane, index, spacing=spacing, pixels_per_mm=scale, window=window)
            position = f"{plane} {index + 1} / {image.shape[PLANES[plane].axis]}"
            tiles.append(_Tile(_mark(panel, plane, scale), f"{position}  {name}".rstrip()))

    rows = [_beside(tiles[start : start + _PER_ROW]) for start in range(0, len(tiles), _PER_ROW)]
    width = max(row.width for row in rows)
    if maps:
        space = width - rows[-1].width - MARGIN
        if space >= _LEGEND:
            rows[-1] = _beside([_Tile(rows[-1]), _Tile(_legend(_labels_of(*maps), names, space), top=_CAPTION)], MARGIN)
        else:
            rows.append(_legend(_labels_of(*maps), names, width))
    lines = [(one_line(said), size, TEXT) for said, size in ((title, LARGE), (remark, SMALL)) if said]
    lines.append((_describe(image.shape, spacing, window), SMALL, FAINT))
    return below([text_block(lines, width), *rows])


def write_montage(path: str | os.PathLike, image: np.ndarray, labels: np.ndarray | None, **settings: Any) -> None:
    """Write a :func:`montage` as PNG.

    Raises:
        ValueError: if the arrays do not have one shape or the label maps are not integer.
        OutputError: if the file cannot be written.
    """
    save_sheet(path, montage(image, labels, **settings))


def validation_picture(
    path: str | os.PathLike, rows: Sequence[ValidationRow], *, names: Sequence[str], title: str = ""
) -> None:
    """Write a PNG with one row per case: image, prediction and reference on one axial slice.

    Args:
        path: The PNG file to write.
        rows: The cases to show.
        names: Structure names; the index is the label value, ``names[0]`` is the background.
        title: Heading, for example ``"epoch 12"``.

    Raises:
        ValueError: for no case.
        OutputError: if the file cannot be written.
    """
    if not rows:
        raise ValueError("a validation picture shows one case or more, got none")
    blocks = [row.picture for row in rows]
    width = max(block.width for block in blocks)
    if title:
        blocks.insert(0, text_block([(one_line(title), LARGE, TEXT)], width))
    blocks.append(_legend(frozenset().union(*(row.labels for row in rows)), names, width))
    save_sheet(path, below(blocks))


def _check(image: np.ndarray, *label_maps: np.ndarray | None) -> None:
    if image.ndim != 3 or image.size == 0:
        raise ValueError(f"a volume to show has the shape (D, H, W), got {image.shape}")
    for labels in label_maps:
        if labels is None:
            continue
        if labels.shape != image.shape:
            raise ValueError(f"labels of shape {labels.shape} do not fit the image of shape {image.shape}")
        if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise ValueError(f"labels to show are integers from 0, got {labels.dtype} from {labels.min()}")


def _pixels_per_mm(shape: Sequence[int], spacing: Sequence[float]) -> float:
    depth, height, width = (n * mm for n, mm in zip(shape, spacing, strict=True))
    return min(_PANEL / max(height, width), _TALLEST * _PANEL / depth)


def _choose_views(
    maps: Sequence[np.ndarray], shape: tuple[int, ...], spacing: Sequence[float], scale: float
) -> list[tuple[PlaneName, int]]:
    """Return the slices to show, as (plane, index): axial ones from inferior to superior, then coronal and sagittal."""
    size = max((int(m.max()) for m in maps), default=0) + 1
    counts = np.zeros((shape[0], size), np.int64)
    for labels in maps:
        found = label_counts(labels)
        counts[:, : found.shape[1]] += found
    views: list[tuple[PlaneName, int]] = [("axial", index) for index in choose_axial(counts, _PER_ROW)]
    labelled = next((m for m in maps if m.any()), None)
    center = tuple(n // 2 for n in shape) if labelled is None else center_of_mass(labelled)
    for plane in ("coronal", "sagittal"):
        if min(panel_size(plane, shape, spacing, scale)) >= _THINNEST:
            views.append((plane, center[PLANES[plane].axis]))
    return views


def _fullest_slice(reference: np.ndarray, prediction: np.ndarray) -> int:
    """Return the axial slice with most of the reference; of the prediction where the reference is empty."""
    for labels in (reference, prediction):
        voxels = np.count_nonzero(labels, axis=(1, 2))
        if voxels.any():
            return int(voxels.argmax())
    return len(reference) // 2


def _describe(shape: Sequence[int], spacing: Sequence[float], window: tuple[float, float]) -> str:
    depth, height, width = shape
    return (
        f"{depth} slices of {height} × {width}   "
        f"pixel {spacing[1]:.3g} × {spacing[2]:.3g} mm, slice {spacing[0]:.3g} mm   "
        f"window {window[0]:.4g} to {window[1]:.4g}"
    )


def _mark(panel: np.ndarray, plane: PlaneName, pixels_per_mm: float) -> Image.Image:
    """Write the patient directions at the edges, and a bar with its length in mm."""
    picture = Image.fromarray(panel)
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    style = {"font": font(SMALL), "fill": TEXT, "stroke_width": 2, "stroke_fill": (0, 0, 0)}
    top, bottom, left, right = PLANES[plane].letters
    if height >= 3 * 20:
        draw.text((width / 2, 4), top, anchor="mt", **style)
        draw.text((width / 2, height - 4), bottom, anchor="mb", **style)
    if width >= 3 * 20:
        draw.text((5, height / 2), left, anchor="lm", **style)
        draw.text((width - 5, height / 2), right, anchor="rm", **style)
    _scale_bar(draw, picture.size, pixels_per_mm)
    return picture


def _scale_bar(draw: ImageDraw.ImageDraw, size: tuple[int, int], pixels_per_mm: float) -> None:
    width, height = size
    lengths = [unit * ten for ten in (0.1, 1, 10, 100, 1000) for unit in (1, 2, 5)]
    millimetres = max((n for n in lengths if n * pixels_per_mm <= 0.35 * width), default=lengths[0])
    right, bottom = width - 8, height - 8
    left = right - millimetres * pixels_per_mm
    draw.rectangle((left - 1, bottom - 4, right + 1, bottom + 1), fill=(0, 0, 0))
    draw.rectangle((left, bottom - 3, right, bottom), fill=TEXT)
    text = f"{millimetres:g} mm"
    draw.text(
        (right, bottom - 8),
        text,
        anchor="rb",
        font=font(SMALL - 2),
        fill=TEXT,
        stroke_width=2,
        stroke_fill=(0, 0, 0),
    )


def _beside(tiles: Sequence[_Tile], gap: int = GAP) -> Image.Image:
    """Put tiles beside each other, aligned at the top."""
    sizes = [tile.size for tile in tiles]
    canvas = Image.new("RGB", (sum(w for w, _ in sizes) + gap * (len(tiles) - 1), max(h for _, h in sizes)), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    x = 0
    for tile, (width, _) in zip(tiles, sizes, strict=True):
        draw.text((x, 2), tile.caption, font=font(SMALL), fill=FAINT)
        canvas.paste(tile.picture, (x, tile.offset))
        x += width + gap
    return canvas


def _labels_of(*maps: np.ndarray) -> frozenset[int]:
    """Return the labels, but 0, that occur in label maps."""
    return frozenset(int(value) for labels in maps for value in np.flatnonzero(label_counts(labels).any(axis=0)))


def _legend(labels: frozenset[int], names: Sequence[str], width: int) -> Image.Image:
    """Draw names and colours of the labels that occur, and say in words which of the named ones do not."""
    entries = [(value, names[value] if value < len(names) else f"label {value}") for value in sorted(labels)]
    absent = [one_line(name) for value, name in enumerate(names) if value > 0 and value not in labels]
    blocks = [legend(entries, width, outlines=True)] if entries else []
    if absent:
        lines = _wrap(f"Not found: {', '.join(absent)}", width)
        blocks.append(text_block([(line, SMALL, FAINT) for line in lines], width))
    return below(blocks or [text_block([], width)], gap=0)


def _wrap(text: str, width: int) -> list[str]:
    """Break ``text`` at spaces into lines of at most ``width`` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and font(SMALL).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fit(line, SMALL, width) for line in lines]
