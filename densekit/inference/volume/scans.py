"""Which scans to predict: the files of one scan, one per channel."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from densekit.errors import DataError
from densekit.inference.inputs import VOLUMES, Case, expand, place, unique_names
from densekit.io import volume_stem, volume_suffix

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class ScanCase(Case):
    """One scan to predict.

    Attributes:
        id: Name of its outputs.
        paths: Its files, one per channel.
    """

    kind: ClassVar[str] = "scan"

    @property
    def output_name(self) -> str:
        """File name of its label map, in the format of the scan (``.mha`` for the two files of ``.mhd``)."""
        suffix = volume_suffix(self.paths[0]) or ".nii.gz"
        return self.id + (".mha" if suffix == ".mhd" else suffix)

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


def find_scans(inputs: Sequence[str | Path], *, channels: int, out: Path) -> list[ScanCase]:
    """Find the scans that are meant.

    A folder stands for the volume files directly in it. If the network expects several channels, ``<case>_0000``,
    ``<case>_0001`` ... are those of one case (nnU-Net's names). If it expects one, every file is a case, and a lone
    ``<case>_0000`` is named without the number. Two cases of one name (the same file name in two folders) get the names
    of their folders in front; two in one folder (``a.nii.gz``, ``a.nrrd``) their formats behind (``a_nii_gz``).

    Args:
        inputs: Volume files, folders, or globs (``"scans/**/*.nii.gz"``).
        channels: Image channels the network expects.
        out: Output folder; a glob does not find what lies in it.

    Raises:
        DataError: if an input does not exist or holds no volume.
    """
    files = {place(file): file for item in inputs for file in expand(Path(item).expanduser(), out, VOLUMES)}
    groups: dict[_Key, list[Path]] = defaultdict(list)
    for file in files.values():
        groups[_Key.of(file)].append(file)
    if channels == 1:
        groups = _one_file_each(groups)
    stems = Counter((key.folder, key.name.lower()) for key in groups)
    names = unique_names(
        [(key.folder, key.long_name if stems[key.folder, key.name.lower()] > 1 else key.name) for key in groups]
    )
    return [ScanCase(name, tuple(sorted(paths))) for name, paths in zip(names, groups.values(), strict=True)]


class _Key(NamedTuple):
    """What the channel files of one case have in common."""

    folder: Path
    name: str
    suffix: str | None
    numbered: bool

    @property
    def long_name(self) -> str:
        """The name with the format, for files that differ in nothing else: ``scan_nii_gz``, ``scan_nrrd``."""
        return self.name + (self.suffix or "").replace(".", "_")

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
