"""What was found in one scan, and how it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from PIL import Image

from densekit.errors import few
from densekit.inference.predictor import Result
from densekit.inference.volume.export import Structure, write_checked
from densekit.io import Geometry, to_itk, to_nibabel, volume_stem
from densekit.io.staging import publish, staging_folder
from densekit.structures.notes import doubt
from densekit.visualization.shared.sheet import framed
from densekit.visualization.volume.montage import montage

if TYPE_CHECKING:
    import SimpleITK


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Result):
    """What was found in one scan.

    Attributes:
        paths: The scan's files, one per channel; none for a scan that was given in memory.
        image: Canonical scan as read, (C, D, H, W).
        labels: Canonical label map (D, H, W) on the scan's own grid; :attr:`label_map` has the scan's own axes.
        geometry: The scan's grid.
        names: Class names by label value, the background first.
        structures: Volume and completeness of every structure, at the scan's resolution.
        seconds: Seconds per stage: read, prepare, predict, measure.
        peak_mb: Peak memory in MB: ``host`` (of the process so far) and, on an accelerator, ``device`` (of this scan).
        notes: What was repaired, assumed or done in another way than asked.
        sources: Files it was predicted from, also those behind images of nibabel; they are not written over.
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
    sources: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        grid = self.geometry
        name = few((path.name for path in self.paths), 2) or "a scan in memory"
        shape, spacing = (" x ".join(f"{v:.4g}" for v in values) for values in (grid.shape, grid.spacing))
        lines = [f"Prediction for {name}: {shape} voxels of {spacing}{' mm' * grid.spacing_known}, {grid.orientation}"]
        found = [s for s in self.structures if s.voxels]
        width = max((len(s.name) for s in found), default=0)
        for s in found:
            size = f"{s.voxels:>10,} voxels" if s.volume_ml is None else f"{s.volume_ml:>10,.2f} ml"
            cut = f", cut off: {', '.join(s.touches_border)}" if s.touches_border else ""
            lines.append(f"  {s.name:<{width}} {size}{cut}")
        lacking = [s.name for s in self.structures if not s.voxels]
        lines += [f"  not found: {few(lacking)}"] if lacking else []
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume in ml by structure name; empty for a scan that does not say how large its voxels are."""
        return {s.name: s.volume_ml for s in self.structures if s.volume_ml is not None}

    @property
    def label_map(self) -> np.ndarray:
        """Label map (i, j, k), a view of :attr:`labels` with the axes of the scan as it was given."""
        return self.geometry.restore(self.labels)

    def to_nibabel(self) -> nib.Nifti1Image:
        """The label map as nibabel's image, on the scan's grid."""
        return to_nibabel(self.labels, self.geometry)

    def to_sitk(self) -> SimpleITK.Image:
        """The label map as SimpleITK's image, on the scan's grid.

        Raises:
            OutputError: if the grid is sheared, which SimpleITK does not hold.
        """
        return to_itk(self.labels, self.geometry)

    def to_dict(self) -> dict[str, Any]:
        """Grid, structures with their volumes in ml, notes and seconds in plain values."""
        return {
            "shape": list(self.geometry.shape),
            "spacing": list(self.geometry.spacing),
            "structures": [{**vars(s), "touches_border": list(s.touches_border)} for s in self.structures],
            "notes": list(self.notes),
            "seconds": self.seconds,
            "peak_mb": self.peak_mb,
        }

    def draw(self, path: str | Path | None = None) -> Image.Image:
        """Draw a montage: axial slices that hold structures, a coronal and a sagittal one, names and colours.

        Args:
            path: Write the picture there too, by rename.

        Raises:
            OutputError: if it cannot be written.
        """
        picture = montage(
            self.image[0],
            self.labels,
            names=self.names,
            spacing=self.geometry.canonical_spacing,
            title=volume_stem(self.paths[0]) if self.paths else "",
            remark=doubt(self.notes),
        )
        return self._drawn(framed(picture), path)

    def save(self, path: str | Path) -> None:
        """Write the label map on the scan's grid with the scan's header, and the label names beside it.

        Raises:
            OutputError: if it cannot be written, or the written file is not the prediction on the scan's grid.
        """
        path = self._target(path)
        with staging_folder(path.parent) as folder:
            like = self.paths[0] if self.paths else None
            write_checked(folder / path.name, self.labels, self.geometry, like=like, names=self.names)
            publish(folder, path.parent, last=path.name)
