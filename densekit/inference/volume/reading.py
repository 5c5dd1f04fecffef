"""Reading one scan: its channels together, on one grid, fit to be predicted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from densekit.errors import DataError
from densekit.io import Geometry, Volume, as_volume, check_intensities, is_array_with_affine


def read_scan(source: Any, channels: Sequence[str]) -> tuple[np.ndarray, Geometry, list[str], tuple[Path, ...]]:
    """Read one scan and check that it can be predicted, see :func:`join_channels`.

    Args:
        source: The scan as :func:`densekit.io.as_volume` takes it, or a list of one such source per channel.
        channels: Names of the channels that the network expects.

    Returns:
        What :func:`join_channels` returns, and the files; none if any channel was in memory.
    """
    several = isinstance(source, (list, tuple)) and len(source) > 0 and not is_array_with_affine(source)
    sources = list(source) if several else [source]
    files = tuple(Path(one) for one in sources if isinstance(one, (str, os.PathLike)))
    joined = join_channels([as_volume(one) for one in sources], channels)
    return *joined, files if len(files) == len(sources) else ()


def join_channels(volumes: Sequence[Volume], channels: Sequence[str]) -> tuple[np.ndarray, Geometry, list[str]]:
    """Put the volumes of one scan together and check that they can be predicted.

    Args:
        volumes: The scan's volumes; their channels together are those the network expects.
        channels: Names of the channels that the network expects.

    Returns:
        Canonical array (C, D, H, W), the common grid, notes.

    Raises:
        DataError: wrong number of channels, different grids, NaN, infinite or constant intensities.
    """
    found = sum(volume.array.shape[0] for volume in volumes)
    if found != len(channels):
        raise DataError(
            f"{volumes[0].path}: {found} image channel{'s' * (found > 1)} given, the network expects {len(channels)} "
            f"({', '.join(channels)}); give one file per channel, named <case>_0000, <case>_0001 ..."
        )
    for volume in volumes:
        difference = volume.geometry.difference(volumes[0].geometry)
        if difference is not None:
            raise DataError(
                f"{volume.path}: lies on another grid than {volumes[0].path.name}: {difference}; resample one to "
                f"the other"
            )
        check_intensities(volume)
    array = volumes[0].array if len(volumes) == 1 else np.concatenate([volume.array for volume in volumes])
    return array, volumes[0].geometry, [note for volume in volumes for note in volume.notes]
