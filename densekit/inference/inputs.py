"""Which files to predict, and under which names: files, folders and globs to cases."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from densekit.datasets.shared.image_files import IMAGE_SUFFIXES
from densekit.errors import DataError, few
from densekit.io import VOLUME_SUFFIXES, entries, require_file, volume_suffix


class Wanted(NamedTuple):
    """What kind of file is looked for.

    Attributes:
        name: What messages call one: ``"volume (.nii, .nrrd)"``.
        is_one: Says of a path whether it is one, by its name.
        remedy: What to give instead of a folder that holds none.
        called: What a path is, with its article: ``"a video"``.
    """

    name: str
    is_one: Callable[[Path], Any]
    remedy: str
    called: Callable[[Path], str]


VOLUMES = Wanted(
    f"volume ({', '.join(VOLUME_SUFFIXES)})",
    volume_suffix,
    "give the folder of the scans (DICOM: convert it first, e.g. with dcm2niix)",
    lambda path: "a volume",
)

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv"})


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


IMAGES = Wanted(
    "image (.jpg .jpeg .png .bmp .tif .tiff .webp) or video (.mp4 .avi .mov .mkv)",
    lambda path: path.suffix.lower() in IMAGE_SUFFIXES or is_video(path),
    "give the folder that holds them",
    lambda path: "a video" if is_video(path) else "an image",
)


@dataclass(frozen=True)
class Case(ABC):
    """One input to predict.

    Attributes:
        id: Name of its outputs.
        paths: Its files.
    """

    id: str
    paths: tuple[Path, ...]

    kind: ClassVar[str] = "file"
    """What messages call it."""

    def is_readable(self) -> bool:
        """Whether all its files are there, and files that can be read."""
        try:
            for path in self.paths:
                require_file(path)
        except DataError:
            return False
        return True

    @property
    @abstractmethod
    def output_name(self) -> str:
        """File of its result, below the output folder."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """All files whose being there says something of the case; :attr:`output_name` is the last."""
        return (self.output_name,)


def expand(path: Path, out: Path, wanted: Wanted) -> list[Path]:
    """The files that one input stands for, in order: itself, or those of a folder or glob that are of the wanted kind.

    The name decides. What only has the name of a file (a dangling link, a FIFO, a folder) is among them, to be listed
    as failed rather than passed over; a folder is not if files in it are found too.

    Raises:
        DataError: if it does not exist, cannot be listed or holds none.
    """
    if os.path.isdir(path):  # noqa: PTH112  (never raises)
        found = _select(entries(path), wanted, out)
        if not found:
            below = len(_outside(out, _select(path.rglob("*"), wanted, out)))
            remedy = f"{below} lie in its subfolders: give '{path}/**/*' with the quotes" if below else wanted.remedy
            raise DataError(f"{path}: no {wanted.name} in this folder; {remedy}")
        return found
    if os.path.lexists(path):
        return [path]
    if any(character in str(path) for character in "*?["):
        found = _select(Path(path.anchor).glob(str(path.relative_to(path.anchor))), wanted, out)
        if not found:
            raise DataError(f"{path}: no {wanted.name} matches this pattern; check it")
        # '**/*.nii.gz' also finds the results of an earlier run.
        return _outside(out, found) or found
    raise DataError(f"{path}: no such file or folder; check the path")


def left_out(inputs: Iterable[str | Path], out: Path, wanted: Wanted) -> list[str]:
    """Say of each folder that is given what lies in its folders, one level down, and is not taken.

    Args:
        inputs: Files, folders, globs.
        out: Output folder, which is not looked into.
        wanted: The files that are looked for.

    Raises:
        DataError: as :func:`expand`.
    """
    paths = [Path(item).expanduser() for item in inputs]
    taken = {place(file) for path in paths for file in expand(path, out, wanted)}
    lines = []
    for path in dict.fromkeys(filter(os.path.isdir, paths)):
        below = _outside(out, _select(path.glob("*/*"), wanted, out))
        below = [file for file in below if place(file) not in taken]
        folders = few(dict.fromkeys(f"{file.parent.name}/" for file in below), 4)
        if below:
            lines.append(
                f"{path}: {len(below)} more in its subfolders ({folders}) {'is' if len(below) == 1 else 'are'} not "
                f"taken; if meant, give '{path}/**/*' with the quotes"
            )
    return lines


def _outside(out: Path, files: Iterable[Path]) -> list[Path]:
    """Those of some files that do not lie in the output folder."""
    folder = Path(os.path.realpath(out))
    return [file for file in files if folder not in place(file).parents]


def _select(paths: Iterable[Path], wanted: Wanted, out: Path) -> list[Path]:
    named = [path for path in paths if wanted.is_one(path) and path.name[0] != "."]
    folders = {parent for path in named for parent in path.parents}
    folders |= {path for path in named if path.name == out.name and place(path) == place(out)}
    return sorted(path for path in named if path not in folders)


def place(path: Path) -> Path:
    """Where a file lies, by which the same file given in two ways is one; a link to it is another."""
    return Path(os.path.realpath(path.parent), path.name)


def _numbered(names: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    numbered = []
    for name in names:
        tries = (name if n == 1 else f"{name}_{n}" for n in count(1))
        numbered.append(next(new for new in tries if new.lower() not in taken))
        taken.add(numbered[-1].lower())
    return numbered


def unique_names(cases: Sequence[tuple[Path, str]]) -> list[str]:
    """Case names; where two are the same, as many folder names go in front as it takes to tell them apart.

    Those of one folder, which differ in upper and lower case at most, are numbered.

    Args:
        cases: Folder and name of each.
    """
    depth = [0] * len(cases)
    parents = [[part for part in reversed(parent.parts) if part != parent.anchor] for parent, _ in cases]
    while True:
        names = ["_".join([*reversed(parents[i][: depth[i]]), name]) for i, (_, name) in enumerate(cases)]
        same = defaultdict(list)
        for i, name in enumerate(names):
            same[name.lower()].append(i)  # some file systems do not tell upper from lower case
        clashes = [i for group in same.values() if len(group) > 1 for i in group]
        if not clashes:
            return names
        if all(depth[i] >= len(parents[i]) for i in clashes):
            return _numbered(names)
        for i in clashes:
            depth[i] += 1
