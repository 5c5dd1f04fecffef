"""TransUNet's preprocessed Synapse files (2D slices for training, volumes for test) rebuilt into CT volumes.

The files hold ``(HU clipped to [-125, 275] + 125) / 400`` and neither spacing nor orientation. Rounding undoes the
scaling exactly, so a network trained from here takes ordinary CT. The orientation is found from where the labelled
organs lie; the spacing is lost, a nominal one is written and the native grid is kept.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densekit.datasets.volume.prepare.encodings import ENCODINGS, LabelSummary, check_encoding
from densekit.datasets.volume.stored import UNREADABLE
from densekit.errors import DataError, few
from densekit.io import Geometry, load_json, write_image, write_json_atomic, write_label

NOMINAL_SPACING = (3.0, 0.76, 0.76)
"""mm, (D, H, W): about the data set's average; the files do not carry their own."""

_CASES = (5, 6, 7, 9, 10, 21, 23, 24, 26, 27, 28, 30, 31, 33, 34, 37, 39, 40)
_COUNTS = (117, 131, 163, 149, 148, 143, 96, 124, 131, 88, 89, 153, 93, 104, 98, 99, 90, 195)
PUBLISHED_SLICES = {f"{case:04d}": slices for case, slices in zip(_CASES, _COUNTS, strict=True)}
"""Slices per training case in TransUNet's list (``lists/lists_Synapse/train.txt`` of its repository)."""

_LOWER_HU, _WINDOW_HU = -125, 400
_FORMAT = 1  # of the converted files; raise it when they change, so that older ones are made again

log = logging.getLogger("densekit")


@dataclass(frozen=True)
class Case:
    """One case: the files of its slices in order, or the one file of its volume."""

    id: str
    group: str
    files: tuple[Path, ...]

    def planes(self, key: str) -> Iterator[np.ndarray]:
        """Yield the slices ``(H, W)`` of ``"image"`` or ``"label"``.

        Raises:
            DataError: for a file that cannot be read, lacks the key, or whose slices differ in shape.
        """
        shape = None
        for path in self.files:
            for plane in _read(path, key):
                if plane.ndim != 2 or plane.shape != (shape or plane.shape):
                    raise DataError(
                        f"{path}: {key!r} has shape {plane.shape}, expected {shape or 'slices (H, W)'} as the case's "
                        f"other slices; fetch the file again"
                    )
                shape = plane.shape
                yield plane

    def label(self) -> np.ndarray:
        """Return the label map, uint8, as stored (any orientation).

        Raises:
            DataError: if values are not integers from 0 to 255.
        """
        planes = []
        for plane in self.planes("label"):
            whole = plane.astype(np.uint8)
            if not np.array_equal(whole, plane):
                raise DataError(f"{self.files[0].parent}, case {self.id}: label values are not integers from 0 to 255")
            planes.append(whole)
        return np.stack(planes)

    def hounsfield(self) -> np.ndarray:
        """Return the volume in HU, int16, clipped to [-125, 275] as the files are.

        Raises:
            DataError: if the values do not lie in 0..1, the scaling that was expected.
        """
        planes = []
        for plane in self.planes("image"):
            low, high = float(plane.min()), float(plane.max())
            if not (low >= -1e-3 and high <= 1 + 1e-3):
                raise DataError(
                    f"{self.files[0].parent}, case {self.id}: image values from {low:g} to {high:g}; expected "
                    f"TransUNet's scaling of HU [-125, 275] to [0, 1]; prepare from the raw NIfTI files instead"
                )
            planes.append(np.rint(plane.astype(np.float64) * _WINDOW_HU + _LOWER_HU).astype(np.int16))
        return np.stack(planes)


def _read(path: Path, key: str) -> Iterator[np.ndarray]:
    import h5py

    one_slice = path.suffix == ".npz"
    try:
        with np.load(path) if one_slice else h5py.File(path, "r") as arrays:
            if key not in arrays:
                raise DataError(
                    f"{path}: has no array {key!r}; expected 'image' and 'label' (files with 'img' are ACDC's)"
                )
            yield from (arrays[key],) if one_slice else arrays[key]
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch the file again") from error


def find_cases(root: Path) -> tuple[dict[str, Case], list[str]]:
    """Return the cases of ``train_npz`` and ``test_vol_h5``, and notes on what differs from the published lists.

    A case that both folders hold is taken from ``test_vol_h5``.

    Raises:
        DataError: if there are none, or slices are missing between the first and the last of a case.
    """
    slices: dict[str, dict[int, Path]] = {}
    for path in sorted((root / "train_npz").glob("*.npz")):
        if match := re.fullmatch(r"case(\d{4})_slice(\d+)", path.stem):
            slices.setdefault(match[1], {})[int(match[2])] = path
    cases, notes = {}, []
    for case, by_number in slices.items():
        numbers = sorted(by_number)
        if gap := sorted(set(range(numbers[0], numbers[-1] + 1)) - by_number.keys()):
            raise DataError(
                f"{root / 'train_npz'}: case {case} lacks slice {few(gap, 4)} between {numbers[0]} and {numbers[-1]}, "
                f"the volume cannot be rebuilt; fetch case{case}_slice{gap[0]:03d}.npz again"
            )
        expected = PUBLISHED_SLICES.get(case, len(numbers))
        if len(numbers) != expected:
            notes.append(f"case {case} has {len(numbers)} slices, TransUNet's list has {expected}")
        cases[case] = Case(case, "train_npz", tuple(by_number[n] for n in numbers))
    for path in sorted((root / "test_vol_h5").glob("*.h5")):
        if match := re.fullmatch(r"case(\d{4})(\.npy)?", path.stem):
            if match[1] in cases:
                notes.append(f"case {match[1]} is in train_npz and in test_vol_h5: taken from test_vol_h5")
            cases[match[1]] = Case(match[1], "test_vol_h5", (path,))
    if not cases:
        raise DataError(
            f"{root}: no case; expected train_npz/case0005_slice000.npz ... and test_vol_h5/case0001.npy.h5 ... "
            f"(TransUNet's README says how to get them)"
        )
    return cases, notes


def find_orientation(summaries: list[LabelSummary], encoding: str) -> str | None:
    """Say where the array axes ``(slices, rows, columns)`` lead, as in ``"SPL"``, from where the organs lie.

    Left from right kidney to left; anterior from the kidneys to stomach, pancreas and gallbladder; superior from the
    kidneys to liver and spleen; each averaged over the cases that have the organs.

    Returns:
        Three letters, or None if the organs are absent or do not tell.
    """
    value = {organ: number for number, organ in ENCODINGS[encoding].items()}

    def step(start: tuple[str, ...], end: tuple[str, ...]) -> np.ndarray | None:
        steps = []
        for summary in summaries:
            at = [[summary.centroids.get(value[o]) for o in organs] for organs in (start, end)]
            if all(c is not None for group in at for c in group):
                steps.append(np.mean(at[1], axis=0) - np.mean(at[0], axis=0))
        return np.mean(steps, axis=0) if steps else None

    kidneys = ("left kidney", "right kidney")
    left = step(kidneys[1:], kidneys[:1])
    anterior = step(kidneys, ("stomach", "pancreas"))
    superior = step(kidneys, ("liver", "spleen"))
    if left is None or anterior is None or superior is None:
        return None
    across = 1 if abs(left[1]) > abs(left[2]) else 2
    along = 3 - across
    if abs(left[across]) < 2 * abs(left[along]) or 0 in (anterior[along], superior[0]):
        return None
    letters = ["S" if superior[0] > 0 else "I", "", ""]
    letters[across] = "L" if left[across] > 0 else "R"
    letters[along] = "A" if anterior[along] > 0 else "P"
    return "".join(letters)


def to_canonical(array: np.ndarray, orientation: str) -> np.ndarray:
    """Return a view of ``array`` whose axes lead towards superior, posterior, left."""
    order = [next(i for i, letter in enumerate(orientation) if letter in pair) for pair in ("SI", "PA", "LR")]
    turned = array.transpose(order)
    return turned[tuple(slice(None, None, 1 if orientation[i] in "SPL" else -1) for i in order)]


def convert(root: Path, work: Path, encoding: str) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Check the encoding and write each case as int16 and uint8 NIfTI to ``work/converted``, once.

    Returns:
        Image and label by case id, and notes.

    Raises:
        DataError: for unreadable files, or labels that contradict ``encoding`` (train and test files checked apart).
    """
    cases, notes = find_cases(root)
    groups: dict[str, list[LabelSummary]] = {}
    for case in cases.values():
        groups.setdefault(case.group, []).append(LabelSummary.of(case.label()))
    for group, summaries in groups.items():
        notes.append(f"{group}: {check_encoding(encoding, summaries, root / group)}")
    found = {group: find_orientation(summaries, encoding) for group, summaries in groups.items()}
    known = next((orientation for orientation in found.values() if orientation), None)
    for group, orientation in found.items():
        basis = "assumed, the labels do not tell"
        if orientation or known:
            basis = "by where the organs lie" if orientation else "as in the other files"
        notes.append(f"{group}: slices, rows and columns lead towards {orientation or known or 'SPL'} ({basis})")
    notes.append(
        f"TransUNet files carry no spacing: native grid, written with a nominal {NOMINAL_SPACING} mm, so volumes in ml "
        "and distances in mm are approximate; intensities turned back into HU, which the files clip to [-125, 275]"
    )
    return {case.id: _write(case, found[case.group] or known or "SPL", work) for case in cases.values()}, notes


def _write(case: Case, orientation: str, work: Path) -> tuple[Path, Path]:
    image, label, stamp = (
        work / "converted" / f"case{case.id}{end}" for end in ("_image.nii.gz", "_label.nii.gz", ".json")
    )
    sources = [(p.name, (s := p.stat()).st_size, s.st_mtime_ns) for p in case.files]
    key = hashlib.sha256(repr((_FORMAT, orientation, sources)).encode()).hexdigest()
    if image.is_file() and label.is_file() and stamp.is_file() and load_json(stamp) == {"key": key}:
        return image, label
    log.info("case %s: %d file(s) of %s to %s", case.id, len(case.files), case.group, image)
    stamp.unlink(missing_ok=True)
    hounsfield, labels = (to_canonical(a, orientation) for a in (case.hounsfield(), case.label()))
    if hounsfield.shape != labels.shape:
        raise DataError(
            f"{case.files[0].parent}, case {case.id}: image {hounsfield.shape} and label {labels.shape} differ in "
            f"shape; fetch the case again"
        )
    d, h, w = NOMINAL_SPACING
    geometry = Geometry(shape=hounsfield.shape[::-1], affine=np.diag([-w, -h, d, 1.0]))
    write_image(image, hounsfield, geometry)
    write_label(label, labels, geometry, like=None, names=None)
    write_json_atomic(stamp, {"key": key})
    return image, label
