"""Boxes around findings in volumes, as users have them: MONAI's detection lists, and CSV files with plain columns."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from densekit.datasets.shared.patient_table import categories
from densekit.datasets.shared.splits import read_rows
from densekit.errors import ConfigError, DataError, close_names, few
from densekit.io import Geometry, load_json, volume_stem

MODES = {
    "cccwhd": ("cx", "cy", "cz", "w", "h", "d"),
    "xyzwhd": ("x1", "y1", "z1", "w", "h", "d"),
    "xyzxyz": ("x1", "y1", "z1", "x2", "y2", "z2"),
    "xxyyzz": ("x1", "x2", "y1", "y2", "z1", "z2"),
    "xyxyzz": ("x1", "y1", "x2", "y2", "z1", "z2"),
}
"""What the six numbers of a box are, by MONAI's name of it: centre, first and last corner, and size along each axis."""

SPACES = ("lps", "ras", "voxel")
"""Where x, y and z run: in mm to the Left, Posterior, Superior (DICOM, ITK, LUNA16) or Right, Anterior, Superior
(NIfTI); or along the axes i, j, k of the file, its first voxel from 0 to 1."""

_COLUMN = re.compile(rf"({'|'.join(sorted({n for names in MODES.values() for n in names}))})_({'|'.join(SPACES)})")

Row = tuple[str, str, Any, Sequence[Any] | None]
"""Where a box stands, its case, class and six numbers in the order of its mode; no numbers: the case has no box."""


@dataclass(frozen=True)
class SourceBoxes:
    """The boxes of a case as its file has them; none are there if there is nothing to find in the scan.

    Attributes:
        corners: Of each ``x1, y1, z1, x2, y2, z2``.
        labels: Class name of each.
        rows: Where each stands, for messages.
        space: One of :data:`SPACES`.
    """

    corners: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]
    rows: tuple[str, ...]
    space: str

    def on_grid(self, geometry: Geometry) -> np.ndarray:
        """Return float64 ``(N, 6)`` in voxels of the canonical grid, clipped to it (:mod:`densekit.ops.volume_boxes`).

        Exact but for mm on an oblique grid, where it is the enclosing box.
        """
        import torch

        from densekit.ops.volume_boxes import clipped, moved

        to_ras = {"lps": np.diag([-1.0, -1, 1, 1]), "ras": np.eye(4), "voxel": geometry.affine}[self.space]
        matrix = np.linalg.inv(geometry.canonical_affine) @ to_ras
        if self.space == "voxel":
            matrix[:3, 3] -= matrix[:3, :3] @ np.full(3, 0.5)  # faces to voxel centres, which the affines count by
        boxes = torch.tensor(self.corners, dtype=torch.float64).reshape(-1, 6)
        found = moved(boxes, torch.tensor(matrix[:3, :3]), torch.tensor(matrix[:3, 3] + 0.5))
        return clipped(found.round(decimals=6), geometry.canonical_shape).numpy()

    def problems(self, geometry: Geometry) -> list[str]:
        """Return which boxes lie outside of the scan, a line each."""
        sides = np.diff(self.on_grid(geometry).reshape(-1, 2, 3), axis=1)[:, 0]
        ends = np.array(list(product(*((-0.5, n - 0.5) for n in geometry.shape)))) @ geometry.affine[:3, :3].T
        ends = (ends + geometry.affine[:3, 3]) * ((-1, -1, 1) if self.space == "lps" else 1)
        reach = [f"{low:.4g} to {high:.4g}" for low, high in zip(ends.min(axis=0), ends.max(axis=0), strict=True)]
        whole = few(f"0 to {n}" for n in geometry.shape) if self.space == "voxel" else few(reach)
        return [
            f"{row}: the box {few(f'{v:g}' for v in corners)} ({self.space}, x1 to z2) lies outside of the scan, which "
            f"is from {whole}; correct it, or the way it is read"
            for row, corners, size in zip(self.rows, self.corners, sides, strict=True)
            if size.min() <= 1e-6
        ]


def read_boxes(
    path: Path, mode: Sequence[str] | None, names: Sequence[str] | None, cases: Sequence[str]
) -> tuple[dict[str, SourceBoxes], tuple[str, ...], list[str]]:
    """Read boxes.

    A JSON is a list as MONAI's detection reads it: ``{"training": [{"image": "a.nii.gz", "box": [[six numbers]],
    "label": [0]}], ...}``, of all its sections, with a case in one entry; a label is a name or the number of one. A CSV
    has the columns ``case``, ``class`` and six that say what and where they are, ``x1_lps``, or ``cx_voxel`` and
    ``w_voxel``: the names in :data:`MODES` with one of :data:`SPACES`. An empty list, or a line with nothing but a
    case, says that there is no box; of a case that is not named it is not known.

    Args:
        path: The file, JSON or CSV.
        mode: Of a JSON, which does not say it: one of :data:`MODES`, and one of :data:`SPACES`.
        names: Class names, in the order of their numbers. None: those found.
        cases: The cases there are.

    Returns:
        The boxes by case, the class names, and lines for the user.

    Raises:
        ConfigError: if ``mode`` is missing, or not known.
        DataError: if the file cannot be read, a box cannot be one, or a JSON has a case twice, with its place.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() == ".json":
        order, space = _checked_mode(path, mode)
        rows = _json_rows(path, set(cases))
    else:
        if mode:
            raise ConfigError(f"--box-mode: {path} says in its header what its columns are; leave the option out")
        order, space, rows = _csv_rows(path)
    found: dict[str, tuple[list, list, list]] = {}
    for where, case, label, numbers in rows:
        if case not in cases:
            raise DataError(f"{where}: case {case!r} is not in the data set{close_names(case, cases)}")
        of_case = found.setdefault(case, ([], [], []))
        if numbers is not None:
            values = (_corners(numbers, order, f"{where}, case {case}"), _name(label, names, where), where)
            for column, value in zip(of_case, values, strict=True):
                column.append(value)
    boxes = {case: SourceBoxes(*map(tuple, columns), space) for case, columns in found.items()}
    classes = tuple(names or categories(label for b in boxes.values() for label in b.labels))
    if not classes:
        raise DataError(f"{path}: has no box; give a file that has some, or leave it out")
    unknown = [case for case in cases if case not in boxes]
    notes = [f"{path.name} does not name {len(unknown)} case(s), whose boxes are not known: {few(unknown)}"]
    return boxes, classes, notes if unknown else []


def _checked_mode(path: Path, mode: Sequence[str] | None) -> tuple[tuple[str, ...], str]:
    if not mode:
        raise ConfigError(
            f"{path}: a JSON does not say what its six numbers are; add --box-mode, `--box-mode cccwhd lps` "
            f"for MONAI's lists of LUNA16"
        )
    for value, known in zip(mode, (MODES, SPACES), strict=True):
        if value not in known:
            raise ConfigError(f"--box-mode {' '.join(mode)}: {value!r} is not one of {', '.join(known)}")
    return MODES[mode[0]], mode[1]


def _json_rows(path: Path, cases: set[str]) -> Iterator[Row]:
    content, first = load_json(path), {}
    sections = {"": content} if isinstance(content, list) else content if isinstance(content, dict) else {}
    for section, entries in sections.items():
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            if not isinstance(entry, dict) or "box" not in entry:
                continue
            place = f"{section and section + ' '}entry {number}"
            where = f"{path}, {place}"
            image, boxes, labels = entry.get("image"), entry["box"], entry.get("label", [])
            image = image[0] if isinstance(image, list) and image else image
            lists = isinstance(boxes, list) and isinstance(labels, list) and len(boxes) == len(labels)
            if not isinstance(image, str) or not lists:
                raise DataError(f'{where}: expected {{"image": file, "box": [[six numbers]], "label": [one for each]}}')
            stem = volume_stem(image)
            case = stem if stem in cases else re.sub(r"_\d{4}$", "", stem)
            if first.setdefault(case, place) != place:
                raise DataError(f"{where}: case {case!r} is in {first[case]} already; put all its boxes in one of them")
            for index, (box, label) in enumerate(zip(boxes, labels, strict=True)):
                yield f"{where}, box {index}", case, label, box if isinstance(box, list) else [box]
            if not boxes:
                yield where, case, None, None


def _csv_rows(path: Path) -> tuple[tuple[str, ...], str, Iterator[Row]]:
    columns, lines = read_rows(path)
    fits = [
        (names, space)
        for space in SPACES
        for names in MODES.values()
        if {f"{name}_{space}" for name in names} == {name for name in columns if _COLUMN.fullmatch(name)}
    ]
    if not fits or not {"case", "class"} <= set(columns):
        raise DataError(
            f"{path}, line 1: the header is {few(columns or ('empty',), 10)}; expected case, class and six columns, "
            f"x1_lps, y1_lps, z1_lps, x2_lps, y2_lps, z2_lps (or cx, cy, cz, w, h, d; or _ras in mm, or _voxel)"
        )
    names, space = fits[0]

    def rows() -> Iterator[Row]:
        for number, line in lines:
            cells = [(line[f"{name}_{space}"] or "").strip() for name in names]
            none = not any(cells) and not (line["class"] or "").strip()
            case, label = (line["case"] or "").strip(), (line["class"] or "").strip()
            yield f"{path}, line {number}", case, label, None if none else cells

    return names, space, rows()


def _corners(numbers: Sequence[Any], order: Sequence[str], where: str) -> tuple[float, ...]:
    try:
        values: Mapping[str, float] = dict(zip(order, map(float, numbers), strict=True))
    except (TypeError, ValueError):
        values = {}
    if not values or not all(map(math.isfinite, values.values())):
        raise DataError(f"{where}: the box is {few(numbers)}; expected six numbers, {', '.join(order)}")
    low = [values[f"{a}1"] if f"{a}1" in values else values[f"c{a}"] - values[s] / 2 for a, s in ("xw", "yh", "zd")]
    high = [values[f"{a}2"] if f"{a}2" in values else low["xyz".index(a)] + values[s] for a, s in ("xw", "yh", "zd")]
    if any(b <= a for a, b in zip(low, high, strict=True)):
        raise DataError(
            f"{where}: the box is {few(numbers)} ({', '.join(order)}), of no extent along an axis; correct or remove it"
        )
    return (*low, *high)


def _name(label: Any, names: Sequence[str] | None, where: str) -> str:
    """Return the name of a class, which may be given by its number."""
    text = str(label).strip()
    if names and text not in names and text.isdecimal() and int(text) < len(names):
        return names[int(text)]
    if not text or isinstance(label, (dict, list)) or label is None or (names and text not in names):
        known = f"one of {few(names)}, or its number{close_names(text, names)}" if names else "a name or a number"
        raise DataError(f"{where}: the class is {label!r}; expected {known}")
    return text
