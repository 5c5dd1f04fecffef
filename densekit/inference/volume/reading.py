"""Reading one scan: its channels together, on one grid, fit to be predicted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densekit.errors import DataError
from densekit.io import Geometry, Volume, as_volume, check_intensities, is_array_with_affine


@dataclass(frozen=True)
class ReadScan:
    """One scan as it was read.

    Attributes:
        array: Canonical array (C, D, H, W); a channel that the scan lacks is zero.
        geometry: The grid of all channels.
        notes: What was repaired or assumed.
        paths: The files; none if any channel was in memory.
        present: Whether the scan has each channel.
    """

    array: np.ndarray
    geometry: Geometry
    notes: tuple[str, ...]
    paths: tuple[Path, ...]
    present: tuple[bool, ...]


def read_scan(source: Any, channels: Sequence[str]) -> ReadScan:
    """Read one scan and check that it can be predicted.

    Args:
        source: The scan as :func:`densekit.io.as_volume` takes it, or a list of one such source per channel; in the
            list None stands for a channel that the scan lacks.
        channels: Names of the channels that the network expects.

    Raises:
        DataError: wrong number of channels or none at all, different grids, NaN, infinite or constant intensities.
    """
    several = isinstance(source, (list, tuple)) and len(source) > 0 and not is_array_with_affine(source)
    sources = list(source) if several else [source]
    given = [one for one in sources if one is not None or not several]
    if not given:
        raise DataError(f"a scan without any channel, the network expects {', '.join(channels)}; give at least one")
    volumes = [None if one is None and several else as_volume(one) for one in sources]
    array, geometry, notes = join_channels(volumes, channels)
    files = tuple(Path(one) for one in given if isinstance(one, (str, os.PathLike)))
    present = tuple(v is not None for v in volumes for _ in range(1 if v is None else v.array.shape[0]))
    return ReadScan(array, geometry, tuple(notes), files if len(files) == len(given) else (), present)


def files_behind(source: Any) -> tuple[Path, ...]:
    """The files that a scan comes from, also through an image of nibabel that was read from one."""
    several = isinstance(source, (list, tuple)) and not is_array_with_affine(source)
    names = [
        one if isinstance(one, (str, os.PathLike)) else getattr(one, "get_filename", lambda: None)()
        for one in (source if several else [source])
    ]
    return tuple(Path(name) for name in names if name is not None)


def join_channels(volumes: Sequence[Volume | None], channels: Sequence[str]) -> tuple[np.ndarray, Geometry, list[str]]:
    """Put the volumes of one scan together and check that they can be predicted.

    Args:
        volumes: The scan's volumes, at least one; their channels together are those the network expects. None: a
            channel that the scan lacks, zero in the result.
        channels: Names of the channels that the network expects.

    Returns:
        Canonical array (C, D, H, W), the common grid, notes.

    Raises:
        DataError: wrong number of channels, different grids, NaN, infinite or constant intensities.
    """
    there = [volume for volume in volumes if volume is not None]
    first = there[0]
    found = sum(1 if volume is None else volume.array.shape[0] for volume in volumes)
    if found != len(channels):
        raise DataError(
            f"{first.path}: {found} image channel{'s' * (found > 1)} given, the network expects {len(channels)} "
            f"({', '.join(channels)}); give one file per channel, named <case>_0000, <case>_0001 ..."
        )
    for volume in there:
        difference = volume.geometry.difference(first.geometry)
        if difference is not None:
            raise DataError(
                f"{volume.path}: lies on another grid than {first.path.name}: {difference}; resample one to the other"
            )
        check_intensities(volume)
    # As prepared cases have it, so that the preprocessing does the same with both.
    arrays = [np.zeros_like(first.array[:1]) if volume is None else volume.array for volume in volumes]
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return array, first.geometry, [note for volume in there for note in volume.notes]
