"""From class scores on the network's grid to a label map on the scan's own grid, measured and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densekit.errors import DataError, OutputError
from densekit.io import Geometry, Volume, read_label, write_label
from densekit.ops.sliding_window import label_dtype

_SIDES = (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))
"""Names of the first and last face of a canonical volume along D, H, W."""

_CHUNK_VOXELS = 2**23
"""Voxels interpolated at a time: keeps the working set of one class in tens of MB."""

_GRID_TOLERANCE = 0.01
"""How far (in voxels) a corner of the written grid may lie from the scan's: some headers hold float32 numbers."""


def best_labels(slabs: Iterable[Tensor], shape: Sequence[int], *, rows: int) -> Tensor:
    """Interpolate class scores linearly to another grid of the same extent and take the best class of each voxel.

    Class by class, the best score so far and its label are kept: ``classes x voxels`` of the target grid never exist.
    Equal scores go to the lower label, as ``argmax`` decides. The slabs are consumed as they come (see
    :func:`densekit.ops.sliding_window.sliding_window_slabs`), so memory does not grow with D either.

    Args:
        slabs: Scores (K, n, h, w), pieces along D of one volume (K, rows, h, w).
        shape: Target grid (D, H, W): voxels are boxes, the outer faces of the first and last box stay where they are.
        rows: Rows of all slabs together.

    Returns:
        Label map (D, H, W) on the CPU: uint8, or int16 for more than 256 classes.
    """
    depth, height, width = shape
    lower, fraction = _positions(rows, depth)
    upper = np.minimum(lower + 1, rows - 1)
    pieces, held, base, done = [], None, 0, 0
    for slab in slabs:
        end = base + slab.shape[1]
        ready = int(np.searchsorted(upper, end))  # target rows whose neighbours are all here
        source = _Rows(held, slab, base)
        step = max(_CHUNK_VOXELS // (height * width), 1)
        for start in range(done, ready, step):
            stop = min(start + step, ready)
            best = _best_of_rows(source, lower[start:stop], upper[start:stop], fraction[start:stop], (height, width))
            pieces.append(best.cpu())
        held, base, done = slab[:, -1:].clone(), end, max(done, ready)
    return torch.cat(pieces)


class _Rows:
    """The rows of the current slab and the last one before it, without copying the slab."""

    def __init__(self, held: Tensor | None, slab: Tensor, base: int):
        self.held, self.slab, self.base = held, slab, base

    def find(self, index: np.ndarray) -> tuple[int, Tensor]:
        """Say where rows ``index`` (ascending, counted in the whole volume) are: so many held, these of the slab."""
        before = int(np.searchsorted(index, self.base))
        return before, torch.as_tensor(index[before:] - self.base, device=self.slab.device)

    def take(self, label: int, found: tuple[int, Tensor]) -> Tensor:
        """Return the rows found, of one class, (rows, h, w)."""
        before, index = found
        rows = self.slab[label, index]
        return torch.cat([self.held[label].expand(before, -1, -1), rows]) if before else rows


def _positions(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """For each target row: the source row below it and how far it lies towards the next one."""
    position = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)
    lower = np.floor(position).astype(np.int64)
    return lower, position - lower


def _best_of_rows(
    source: _Rows, lower: np.ndarray, upper: np.ndarray, fraction: np.ndarray, size: tuple[int, int]
) -> Tensor:
    """Running maximum over the classes for some target rows. Returns labels (rows, H, W)."""
    classes, device = source.slab.shape[0], source.slab.device
    weight = torch.as_tensor(fraction, dtype=torch.float32, device=device)[:, None, None]
    below, above = source.find(lower), source.find(upper)
    between = bool(fraction.any())
    best = labels = None
    for label in range(classes):
        score = source.take(label, below)
        if between:
            score = torch.lerp(score, source.take(label, above), weight)
        if tuple(score.shape[1:]) != size:
            score = F.interpolate(score[None], size=size, mode="bilinear", align_corners=False)[0]
        if best is None:
            best, labels = score.clone(), torch.zeros(score.shape, dtype=label_dtype(classes), device=device)
        else:
            labels.masked_fill_(score > best, label)
            torch.maximum(best, score, out=best)
    return labels


@dataclass(frozen=True)
class Structure:
    """One predicted structure at the scan's own resolution.

    Attributes:
        name: Its name.
        label: Its value in the label map.
        voxels: Number of voxels.
        volume_ml: Volume in ml. 0 if it was not found; a lower bound if it touches a border; None if the scan does not
            say how large its voxels are.
        touches_border: Faces of the scan where it is cut off: "inferior", "superior", "anterior", "posterior", "right",
            "left".
    """

    name: str
    label: int
    voxels: int
    volume_ml: float | None
    touches_border: tuple[str, ...]


def measure(labels: np.ndarray, names: Sequence[str], voxel_ml: float | None) -> list[Structure]:
    """Measure every structure but the background in one pass over the voxels.

    Args:
        labels: Canonical label map (D, H, W).
        names: Class names by label value, the background first.
        voxel_ml: Volume of a voxel in ml; None where it is not known.
    """
    counts = torch.zeros(len(names), dtype=torch.int64)
    for plane in labels:  # plane by plane: bincount works on 64-bit copies
        counts += torch.bincount(torch.from_numpy(np.ascontiguousarray(plane)).flatten(), minlength=len(names))
    touches: dict[int, list[str]] = {}
    for axis, sides in enumerate(_SIDES):
        for index, side in zip((0, -1), sides, strict=True):
            for label in np.unique(labels.take(index, axis=axis)):
                touches.setdefault(int(label), []).append(side)
    volumes = [None if voxel_ml is None else n * voxel_ml for n in counts.tolist()]
    return [
        Structure(name, label, int(counts[label]), volumes[label], tuple(touches.get(label, ())))
        for label, name in enumerate(names)
        if label > 0
    ]


def write_checked(
    path: Path, labels: np.ndarray, geometry: Geometry, *, like: Path | None, names: Sequence[str]
) -> None:
    """Write a label map on exactly the scan's grid, read it back and compare.

    The geometry contract: shape, axis order, affine (at the corner that is farthest off) and every voxel of the written
    file are what was predicted, hence also the place of every structure in the patient. Write to a
    :func:`~densekit.io.staging.staging_folder`, so that a file that breaks the contract is never seen under its final
    name.

    Args:
        path: Where to write; the suffix says the format. Label names go beside it (``<stem>.labels.json``).
        labels: Canonical label map (D, H, W).
        geometry: Grid of the scan.
        like: The scan, whose header is taken over.
        names: Class names by label value.

    Raises:
        OutputError: if it cannot be written, or what was written is not what was meant.
    """
    write_label(path, labels, geometry, like=like, names=names)
    try:
        written = read_label(path)
    except DataError as error:
        difference = f"it cannot be read back ({error})"
    else:
        difference = _difference(written, labels, geometry)
    if difference is not None:
        raise OutputError(
            f"{path.name}: the written file is not the prediction on the scan's grid: {difference}; it was not kept; "
            f"predict a copy of the scan saved as .nii.gz instead"
        )


def _difference(written: Volume, labels: np.ndarray, geometry: Geometry) -> str | None:
    there = written.geometry
    difference = there.difference(geometry, _GRID_TOLERANCE * min(geometry.spacing))
    if difference is not None:
        return difference
    if (there.shape, there.orientation) != (geometry.shape, geometry.orientation):
        return f"axes {there.orientation} {there.shape}, the scan's are {geometry.orientation} {geometry.shape}"
    voxels = np.count_nonzero(written.array[0] != labels)
    return f"{voxels} voxels have another label" if voxels else None
