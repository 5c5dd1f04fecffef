"""YOLO's label files: what their rows say, and where an image has a second one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from densekit.datasets.detection.draft import DetectionSource
from densekit.datasets.detection.findings import Findings
from densekit.datasets.shared.image_files import list_tree
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import DataError
from densekit.io.files import read_text

_SLACK = 0.01  # labels rounded to a few digits may lie this much outside 0 to 1
_RIVALS = "images have two label files that differ, so nobody knows which one is meant"


class _Row(NamedTuple):
    label: int
    box: tuple[float, float, float, float]
    polygons: list[list[float]] | None


class Labels:
    """Reads label files, row by row."""

    def __init__(self, place: Mapping[int, int], source: DetectionSource, findings: Findings) -> None:
        self.place = place
        self.source = source
        self.findings = findings

    def read(self, file: Path, image: int) -> list[tuple] | None:
        """Return the annotations of an image in fractions of it; None if there is no label file."""
        if not os.path.lexists(file):
            return None
        try:
            text = read_text(file)
        except DataError as error:
            self.findings.add("file-unreadable", str(error).replace(str(file), self.source.relative(file), 1))
            return []
        rows = []
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            try:
                row = self._parse(words)
            except (ValueError, KeyError) as error:
                where = f"{self.source.relative(file)}, line {number}"
                code = "category-unknown" if isinstance(error, KeyError) else "row-malformed"
                self.findings.add(code, f"{where}: {error.args[0]}")
                continue
            rows.append((image, row.label, row.box, row.polygons, number))
        return rows

    def _parse(self, words: list[str]) -> _Row:
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            raise ValueError(f"{' '.join(words)[:60]!r} is not a row of numbers") from None
        first, *values = numbers
        if self.source.pose:
            values = values[:4]
        if not first.is_integer() or (len(values) != 4 and (len(values) < 6 or len(values) % 2)):
            raise ValueError(f"{len(numbers)} numbers ({' '.join(words)[:60]})")
        if int(first) not in self.place:
            last = max(self.place)
            raise KeyError(f"class {int(first)}, but {self.source.names_from.name} names the classes 0 to {last}")
        if not all(-_SLACK <= value <= 1 + _SLACK for value in values):
            unit = ", in percent or pixels?" if 2 < max(values) <= 100 else ", in pixels?" if max(values) > 100 else ""
            raise ValueError(f"values outside 0 to 1{unit} ({' '.join(words)[:60]})")
        if len(values) == 4:
            x, y, w, h = values
            return _Row(self.place[int(first)], (x - w / 2, y - h / 2, w, h), None)
        xs, ys = values[::2], values[1::2]
        box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
        return _Row(self.place[int(first)], box, [values])

    def refuse_rivals(self, owners: Mapping[str, Path]) -> None:
        """Find images with a second label file that says something else, wherever label files may lie.

        A file of the same name below ``labels``, beside the image or in the root, of the same split or of none, is such
        a file unless it belongs to another image.

        Args:
            owners: Image by its label file.
        """
        root, names = self.source.root, list_tree(self.source.root)
        others = [root / n for n in names if n.endswith(".txt") and os.path.join(root, n) not in owners]  # noqa: PTH118
        if not others:
            return
        images = {_stem(root / name) for name in names if not name.endswith(".txt")}
        labels: dict[tuple, list[Path]] = {}
        for label in map(Path, owners):
            if label.is_relative_to(root):
                labels.setdefault((label.stem, _place(label, root)[0]), []).append(label)
        for other in others:
            place, split = _place(other, root)
            for label in labels.get((other.stem, place), ()):
                image = owners[str(label)]
                belongs = {_stem(other), _stem(_of_images(other))} - {_stem(image)}
                same_split = split is None or _place(label, root)[1] in (None, split)
                if same_split and not belongs & images and _differ(label, other):
                    where = " or ".join(map(self.source.relative, (label, other)))
                    self.findings.add("image-ambiguous", f"{self.source.relative(image)}: {where}", message=_RIVALS)


def _place(file: Path, root: Path) -> tuple[tuple[str, ...], str | None]:
    """Return the folders of a file that tell it apart from others of its name, and the split they speak of."""
    parts = [part for part in file.relative_to(root).parts[:-1] if part not in ("images", "labels")]
    return tuple(part for part in parts if split_of(part) is None), split_of("/".join(parts))


def _of_images(label: Path) -> Path:
    """Return the path with the last folder ``labels`` replaced by ``images``; itself if there is none."""
    parts = list(label.parts)
    if "labels" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("labels")] = "images"
    return Path(*parts)


def _stem(file: Path) -> str:
    return os.path.splitext(file)[0]  # noqa: PTH122  a Path for each of 100,000 files would cost seconds


def _differ(label: Path, other: Path) -> bool:
    """Whether two label files hold other rows, in whatever order; not if either is none."""
    try:
        one, two = ([[float(word) for word in row.split()] for row in read_text(f).split("\n")] for f in (label, other))
    except (DataError, ValueError):  # the first is reported when it is read, the second may be anything
        return False
    return sorted(filter(None, one)) != sorted(filter(None, two))
