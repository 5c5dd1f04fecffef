"""Which files to predict, and under which names: files, folders and globs to cases."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from densekit.datasets.shared.image_files import IMAGE_SUFFIXES
from densekit.errors import DataError
from densekit.io import VOLUME_SUFFIXES, volume_suffix


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

    Raises:
        DataError: if it does not exist or holds none.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        found = _select(path.iterdir(), wanted)
        if not found:
            below = len(_select(path.rglob("*"), wanted))
            remedy = f"{below} lie in its subfolders: give '{path}/**/*' with the quotes" if below else wanted.remedy
            raise DataError(f"{path}: no {wanted.name} in this folder; {remedy}")
        return found
    if any(character in str(path) for character in "*?["):
        found = _select(Path(path.anchor).glob(str(path.relative_to(path.anchor))), wanted)
        if not found:
            raise DataError(f"{path}: no {wanted.name} matches this pattern; check it")
        # '**/*.nii.gz' also finds the results of an earlier run.
        return [file for file in found if out.resolve() not in file.resolve().parents] or found
    raise DataError(f"{path}: no such file or folder; check the path")


def _select(paths: Iterable[Path], wanted: Wanted) -> list[Path]:
    return sorted(path for path in paths if wanted.is_one(path) and path.name[0] != "." and path.is_file())


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
