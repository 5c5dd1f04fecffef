"""What was found in one scan, and how it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densekit.errors import OutputError
from densekit.inference.volume.export import Structure, write_checked
from densekit.io import Geometry
from densekit.io.staging import publish, staging_folder


@dataclass(frozen=True)
class Prediction:
    """What was found in one scan.

    Attributes:
        paths: The scan's files, one per channel; none for a scan that was given in memory.
        image: Canonical scan as read, (C, D, H, W).
        labels: Canonical label map (D, H, W) on the scan's own grid.
        geometry: The scan's grid.
        names: Class names by label value, the background first.
        structures: Volume and completeness of every structure, at the scan's resolution.
        seconds: Seconds per stage: read, prepare, predict, measure.
        peak_mb: Peak memory in MB: ``host`` (of the process so far) and, on an accelerator, ``device`` (of this scan).
        notes: What was repaired, assumed or done in another way than asked.
    """

    paths: tuple[Path, ...]
    image: np.ndarray
    labels: np.ndarray
    geometry: Geometry
    names: tuple[str, ...]
    structures: tuple[Structure, ...]
    seconds: dict[str, float]
    peak_mb: dict[str, float]
    notes: tuple[str, ...]

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume in ml by structure name."""
        return {s.name: s.volume_ml for s in self.structures}

    def save(self, path: str | Path) -> None:
        """Write the label map on the scan's grid with the scan's header, and the label names beside it.

        Raises:
            OutputError: if it cannot be written, or the written file is not the prediction on the scan's grid.
        """
        path = Path(path)
        if path.resolve() in {p.resolve() for p in self.paths}:
            raise OutputError(f"{path}: is the scan itself; choose another output path")
        with staging_folder(path.parent) as folder:
            like = self.paths[0] if self.paths else None
            write_checked(folder / path.name, self.labels, self.geometry, like=like, names=self.names)
            publish(folder, path.parent, last=path.name)
