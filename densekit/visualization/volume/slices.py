"""From a volume to one picture of one slice: which slice, which grey values, which way up, which colour.

Arrays are canonical, ``(D, H, W)`` with index increasing towards Superior, Posterior, Left. Slices are shown as
radiologists see them: the patient's right on the viewer's left, anterior on top of an axial slice, superior on top of
the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from densekit.visualization.shared.overlay import overlay

CT_WINDOW = (-160.0, 240.0)
_SAMPLE = 2_000_000  # voxels that are enough for percentiles

PlaneName = Literal["axial", "coronal", "sagittal"]


@dataclass(frozen=True)
class Plane:
    """How slices across one axis of a canonical volume lie on the screen.

    Attributes:
        axis: The axis that the slice index counts.
        rows: The axis that runs down the screen (from top to bottom, or from bottom to top if ``flipped``).
        columns: The axis that runs from left to right.
        flipped: Whether the first row of the array is at the bottom.
        letters: Patient directions at the top, bottom, left and right edge of the screen.
    """

    axis: int
    rows: int
    columns: int
    flipped: bool
    letters: tuple[str, str, str, str]


PLANES: dict[str, Plane] = {
    "axial": Plane(0, 1, 2, False, ("A", "P", "R", "L")),
    "coronal": Plane(1, 0, 2, True, ("S", "I", "R", "L")),
    "sagittal": Plane(2, 0, 1, True, ("S", "I", "A", "P")),
}


def display_window(image: np.ndarray) -> tuple[float, float]:
    """Return the intensities ``(black, white)`` to show a volume with.

    A volume with values below -500 is taken for CT in Hounsfield units (air is about -1000 there, and neither MR, PET
    nor z-scored images come near) and gets a soft-tissue window; any other gets its 0.5 and 99.5 percentiles.
    """
    step = int(np.ceil((image.size / _SAMPLE) ** (1 / 3)))
    sample = image[::step, ::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return (0.0, 1.0)
    if sample.min() < -500:
        return CT_WINDOW
    low, high = (float(value) for value in np.percentile(sample, (0.5, 99.5)))
    if high <= low:  # nearly constant: the few voxels that differ are what there is to see
        low, high = float(sample.min()), float(sample.max())
    return (low, high) if high > low else (low, low + 1.0)


def label_counts(labels: np.ndarray) -> np.ndarray:
    """Return how many voxels of each label value lie in each axial slice, ``(D, K)``; the background counts as 0."""
    size = int(labels.max(initial=0)) + 1
    counts = np.stack([np.bincount(plane.ravel(), minlength=size) for plane in labels])
    counts[:, 0] = 0
    return counts


def choose_axial(counts: np.ndarray, number: int) -> list[int]:
    """Choose axial slices, in rising order, that are spread over the labels and show as many structures as can be.

    The slices that hold labels are cut into ``number`` stretches of equal length. From each comes the slice with the
    most structures that have not been shown yet; among equals the one with the most structures, then with the most
    labelled voxels.

    Args:
        counts: Voxels of each label in each slice, ``(D, K)``, background 0 (see :func:`label_counts`).
        number: How many slices to choose. Fewer come back if fewer hold labels. Without any label they are spread
            evenly.
    """
    labelled = np.flatnonzero(counts.any(axis=1))
    if labelled.size == 0:
        depth = len(counts)
        return sorted({int((i + 0.5) * depth / number) for i in range(number)})
    shown = np.zeros(counts.shape[1], bool)
    chosen = []
    for stretch in np.array_split(labelled, min(number, labelled.size)):
        present = counts[stretch] > 0
        rank = np.stack([counts[stretch].sum(axis=1), present.sum(axis=1), (present & ~shown).sum(axis=1)])
        best = np.lexsort(rank)[-1]
        chosen.append(int(stretch[best]))
        shown |= present[best]
    return chosen


def center_of_mass(labels: np.ndarray) -> tuple[int, int, int]:
    """Return the voxel ``(d, h, w)`` at the centre of all labelled voxels; without any, at the centre of the volume."""
    mass = [np.zeros(length, np.int64) for length in labels.shape]
    for d, plane in enumerate(labels):  # slice by slice: a mask of the whole volume would be as large as the labels
        foreground = plane > 0
        mass[0][d] = np.count_nonzero(foreground)
        mass[1] += foreground.sum(axis=1)
        mass[2] += foreground.sum(axis=0)
    total = int(mass[0].sum())
    d, h, w = (round(float(m @ np.arange(len(m))) / total) if total else len(m) // 2 for m in mass)
    return d, h, w


def panel_size(
    plane: PlaneName, shape: Sequence[int], spacing: Sequence[float], pixels_per_mm: float
) -> tuple[int, int]:
    """Return ``(height, width)`` in pixels of a slice shown in its physical proportions."""
    view = PLANES[plane]
    height, width = (max(1, round(shape[axis] * spacing[axis] * pixels_per_mm)) for axis in (view.rows, view.columns))
    return height, width


def render_slice(
    image: np.ndarray,
    labels: np.ndarray | None,
    plane: PlaneName,
    index: int,
    *,
    spacing: Sequence[float],
    pixels_per_mm: float,
    window: tuple[float, float],
) -> np.ndarray:
    """Draw one slice, with its labels as light areas with strong outlines, solid, dashed or dotted by label value.

    Args:
        image: Volume, ``(D, H, W)``, any intensities.
        labels: Label map, ``(D, H, W)`` integer, or None for the image alone.
        plane: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        index: Index of the slice along the axis of the plane.
        spacing: Voxel spacing (D, H, W) in mm.
        pixels_per_mm: Scale of the picture.
        window: Intensities that become black and white.

    Returns:
        Picture, ``(height, width, 3)`` uint8.
    """
    height, width = panel_size(plane, image.shape, spacing, pixels_per_mm)
    grey = _to_grey(_cut(image, plane, index), window)
    grey = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC))
    picture = np.repeat(grey[..., None], 3, axis=2)
    if labels is None:
        return picture
    # Nearest neighbour: the outline shows the voxels that were labelled, not a smooth guess at what was meant.
    values = _cut(labels, plane, index)
    rows = (np.arange(height) + 0.5) * values.shape[0] / height
    columns = (np.arange(width) + 0.5) * values.shape[1] / width
    values = values[rows.astype(int)][:, columns.astype(int)]
    return overlay(picture, values)


def _cut(volume: np.ndarray, plane: PlaneName, index: int) -> np.ndarray:
    view = PLANES[plane]
    cut = np.take(volume, index, axis=view.axis)
    return cut[::-1] if view.flipped else cut


def _to_grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    low, high = window
    scaled = (np.nan_to_num(values.astype(np.float32), nan=low) - low) / (high - low)
    return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
