"""A small raw data set on disk, as a layout's reader would describe it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.io import Geometry, write_image, write_label

LABELS = ("background", "liver", "left kidney", "right kidney")
SPLIT_OF = ("train", "train", "val", "test")


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], origin: float = 0.0) -> Geometry:
    """A grid of which the file axes (i, j, k) are (w, h, d) of the canonical one."""
    d, h, w = spacing
    affine = np.diag([-w, -h, d, 1.0])
    affine[2, 3] = origin
    return Geometry(shape=shape[::-1], affine=affine)


def scan(case: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Image in HU with a border of air, and labels of which each class has its own HU."""
    rng = np.random.default_rng(case)
    labels = np.zeros(shape, dtype=np.uint8)
    d, h, w = (n // 2 for n in shape)
    labels[2:d, 3:h, 3 : w + 2] = 1
    labels[d + 1 : -2, 3:h, 2 : w // 2 + 1] = 3
    labels[d + 1 : -2, h:-3, w + 2 : -2] = 2
    image = np.array([90, 60, 140, 150])[labels] + rng.integers(-60, 61, shape)
    image[:1] = image[:, :2] = -1000
    return image.astype(np.int16), labels


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., SourceDataset]:
    """Write ``cases`` scans under ``tmp_path/raw`` and describe them; keyword arguments change the description."""

    def make(cases: int = 3, shape=(14, 20, 24), spacing=(3.0, 1.0, 1.0), **changes) -> SourceDataset:
        raw = tmp_path / "raw"
        raw.mkdir(exist_ok=True)
        described = []
        for number in range(cases):
            image, labels = scan(number, (shape[0] + number, *shape[1:]))
            geometry = grid(labels.shape, spacing)
            paths = raw / f"img{number}.nii.gz", raw / f"label{number}.nii.gz"
            write_image(paths[0], image, geometry)
            write_label(paths[1], labels, geometry, like=None, names=None)
            described.append(CaseSource(f"case{number}", (paths[0],), paths[1], SPLIT_OF[min(number, 3)]))
        values = {
            "name": "toy",
            "layout": "folder",
            "channels": ("CT",),
            "labels": LABELS,
            "cases": tuple(described),
            "spacing": (3.0, 1.0, 1.0),
            "mirror_pairs": (("left kidney", "right kidney"),),
        }
        return SourceDataset(**{**values, **changes})

    return make
