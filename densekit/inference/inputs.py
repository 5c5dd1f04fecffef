"""Which scans to predict, and under which names: files, folders and globs to cases."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from densekit.errors import DataError
from densekit.io import VOLUME_SUFFIXES, volume_stem, volume_suffix

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


class Wanted(NamedTuple):
    """What kind of file is looked for.

    Attributes:
        name: What messages call one: ``"volume (.nii, .nrrd)"``.
        is_one: Says of a path whether it is one, by its name.
        remedy: What to give instead of a folder that holds none.
    """

    name: str
    is_one: Callable[[Path], Any]
    remedy: str


VOLUMES = Wanted(
    f"volume ({', '.join(VOLUME_SUFFIXES)})",
    volume_suffix,
    "give the folder of the scans (DICOM: convert it first, e.g. with dcm2niix)",
)


@dataclass(frozen=True)
class Case:
    """One scan to predict.

    Attributes:
        id: Name of its outputs.
        paths: Its files, one per channel.
    """

    id: str
    paths: tuple[Path, ...]

    kind: ClassVar[str] = "scan"
    """What messages call it."""

    @property
    def output_name(self) -> str:
        """File name of its label map, in the format of the scan (``.mha`` for the two files of ``.mhd``)."""
        suffix = volume_suffix(self.paths[0]) or ".nii.gz"
        return self.id + (".mha" if suffix == ".mhd" else suffix)

    @property
    def output_names(self) -> tuple[str, ...]:
        """All files whose being there says something of the case; :attr:`output_name` is the last."""
        return (self.output_name,)

    def check_channels(self, names: Sequence[str]) -> None:
        """Check that there is a file for every channel, and the right one.

        Raises:
            DataError: if a channel is missing or there is one too many.
        """
        if len(names) == 1 or not _CHANNEL.fullmatch(volume_stem(self.paths[0])):
            return
        given = [int(_CHANNEL.fullmatch(volume_stem(path))["channel"]) for path in self.paths]
        if given != list(range(len(names))):
            expected = ", ".join(f"_{i:04d} ({name})" for i, name in enumerate(names))
            found = ", ".join(f"_{i:04d}" for i in given)
            raise DataError(f"{self.paths[0].parent / self.id}: has the channel files {found}, expected {expected}")


def find_cases(inputs: Sequence[str | Path], *, channels: int, out: Path) -> list[Case]:
    """Find the scans that are meant.

    A folder stands for the volume files directly in it. If the network expects several channels, ``<case>_0000``,
    ``<case>_0001`` ... are those of one case (nnU-Net's names). If it expects one, every file is a case, and a lone
    ``<case>_0000`` is named without the number. Two cases of one name (the same file name in two folders) get the names
    of their folders in front.

    Args:
        inputs: Volume files, folders, or globs (``"scans/**/*.nii.gz"``).
        channels: Image channels the network expects.
        out: Output folder; a glob does not find what lies in it.

    Raises:
        DataError: if an input does not exist or holds no volume, or names cannot be told apart.
    """
    files = {file.resolve(): file for item in inputs for file in expand(Path(item).expanduser(), out, VOLUMES)}
    groups: dict[_Key, list[Path]] = defaultdict(list)
    for file in files.values():
        groups[_Key.of(file)].append(file)
    if channels == 1:
        groups = _one_file_each(groups)
    names = unique_names([(key.folder, key.name) for key in groups])
    return [Case(name, tuple(sorted(paths))) for name, paths in zip(names, groups.values(), strict=True)]


class _Key(NamedTuple):
    """What the channel files of one case have in common."""

    folder: Path
    name: str
    suffix: str | None
    numbered: bool

    @classmethod
    def of(cls, file: Path) -> _Key:
        stem = volume_stem(file)
        match = _CHANNEL.fullmatch(stem)
        return cls(file.parent.resolve(), match["case"] if match else stem, volume_suffix(file), match is not None)


def _one_file_each(groups: dict[_Key, list[Path]]) -> dict[_Key, list[Path]]:
    """Take apart groups of files that only look like channels: scan_0001, scan_0002 are cases of a numbered series."""
    apart = {}
    for key, paths in groups.items():
        for path in paths:
            lone = len(paths) == 1 and volume_stem(path) == f"{key.name}_0000"
            apart[key if lone else key._replace(name=volume_stem(path))] = [path]
    return apart


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


def unique_names(cases: Sequence[tuple[Path, str]]) -> list[str]:
    """Case names; where two are the same, as many folder names go in front as it takes to tell them apart.

    Args:
        cases: Folder and name of each.

    Raises:
        DataError: if names of one folder are the same.
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
            folder, name = cases[clashes[0]]
            raise DataError(
                f"{folder}: {len(clashes)} files give the case name {name!r}, so their results would have one name; "
                f"rename them, or predict them into different folders"
            )
        for i in clashes:
            depth[i] += 1
