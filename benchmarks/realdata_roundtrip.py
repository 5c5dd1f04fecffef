"""Do labels stay where they belong in the patient? Real scans through reading, prediction and writing.

    python benchmarks/realdata_roundtrip.py DATA_ROOT [--folders totalsegmentator_ct sts_ct_pet_tumour sct_spinal_cord]

The network is a threshold on the intensity, so what it must find is known: for an image, its intensity bands; for a
label map read as if it were an image, its labels. Every volume is predicted on its own grid (every voxel must be right)
and on a resampled grid. The written files and the sources are then read by nibabel alone, and the centroid of each
label in world mm is compared: they must agree within half a voxel. Exit status 1 if one does not.

On the resampled grid a label map is predicted label by label, and an image with one threshold, its median: a blurred
edge passes through all intensities between its sides, so a threshold of several bands finds rings there that are no
error of position.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn

from densekit.datasets.volume.preprocessing import Preprocessing
from densekit.inference.volume import VolumePredictor
from densekit.io import read_geometry

FOLDERS = ("totalsegmentator_ct", "sts_ct_pet_tumour", "sct_spinal_cord")
WINDOW = (48, 64, 64)
QUANTILES = (0.5, 0.8, 0.95)
FINER = 0.75  # of the scan's spacing: the resampled grid does not share its voxels with the scan's
VANISHES = 8  # a label of so few voxels may not survive two interpolations
UNCHANGED = {"lower": -1e9, "upper": 1e9, "mean": 0.0, "std": 1.0}


class Threshold(nn.Module):
    """Class k between edges k - 1 and k: windows (b, 1, d, h, w) -> logits (b, K, d, h, w)."""

    def __init__(self, edges: np.ndarray):
        super().__init__()
        self.register_buffer("edges", torch.from_numpy(edges.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        label = torch.bucketize(x[:, 0].contiguous(), self.edges, right=True)
        return nn.functional.one_hot(label, len(self.edges) + 1).movedim(-1, 1) * 8.0


@dataclass
class Row:
    """What was measured in one volume in one mode."""

    name: str
    mode: str
    labels: int = 0
    vanished: int = 0
    wrong: int = 0
    worst_voxels: float = 0.0
    worst_mm: float = 0.0
    bad: str = ""
    seconds: float = 0.0

    def compare(self, source: np.ndarray, predicted: np.ndarray, affine: np.ndarray, found_affine: np.ndarray) -> None:
        """Compare two label maps, each with its own affine (file index -> RAS mm)."""
        self.wrong += int((source != predicted).sum()) if source.shape == predicted.shape else source.size
        there, here = centroids(source, affine), centroids(predicted, found_affine)
        for label, (centre, voxels) in there.items():
            if label not in here:
                self.vanished += 1
                if voxels > VANISHES:
                    self.bad += f" label {label} ({voxels} voxels) is gone"
                continue
            self.labels += 1
            shift = here[label][0] - centre
            in_voxels = float(np.abs(np.linalg.solve(affine[:3, :3], shift)).max())
            if in_voxels > 0.5:
                self.bad += f" label {label} is off by {in_voxels:.2f} voxels"
            self.worst_voxels = max(self.worst_voxels, in_voxels)
            self.worst_mm = max(self.worst_mm, float(np.linalg.norm(shift)))

    def __str__(self) -> str:
        cells = f"{self.name:<58} {self.mode:<10} {self.labels:>6} {self.vanished:>8} {self.wrong:>8}"
        return f"{cells} {self.worst_mm:>9.4f} {self.worst_voxels:>9.4f} {self.seconds:>6.1f} {self.bad or 'ok'}"


def centroids(labels: np.ndarray, affine: np.ndarray) -> dict[int, tuple[np.ndarray, int]]:
    """World centroid (RAS mm) and voxel count of every label but 0, from file-order voxels and affine alone."""
    index = np.argwhere(labels)
    values = labels[labels > 0]
    counts = np.bincount(values)
    sums = np.stack([np.bincount(values, weights=index[:, axis]) for axis in range(3)], axis=-1)
    found = np.flatnonzero(counts)
    return {int(k): (nib.affines.apply_affine(affine, sums[k] / counts[k]), int(counts[k])) for k in found}


def predict(path: Path, edges: np.ndarray, spacing: tuple | None, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Predict a file, read what was written by nibabel: labels by file index, affine (file index -> RAS mm)."""
    preprocessing = Preprocessing(("intensity",), spacing, "ct", (UNCHANGED,))
    names = ["background", *(f"label {k}" for k in range(1, len(edges) + 1))]
    predictor = VolumePredictor(Threshold(edges), preprocessing, names, {"window": WINDOW, "overlap": 0.25}, "cpu")
    out = folder / "out.nii.gz"
    predictor.predict(path).save(out)
    written = nib.load(out)
    return np.asarray(written.dataobj), written.affine


def check(path: Path, name: str, folder: Path) -> Iterator[Row]:
    """Predict a volume on its own and on a finer grid and compare with the source."""
    source = nib.load(path)
    values = np.squeeze(np.asarray(source.dataobj)).astype(np.float32)
    finer = tuple(FINER * mm for mm in read_geometry(path).canonical_spacing)
    is_label = any(word in path.name for word in ("seg", "mask"))
    if is_label:
        edges = np.arange(values.max()) + 0.5
    else:
        edges = np.unique(np.quantile(values, QUANTILES).astype(np.float32))
    expected = np.digitize(values, edges.astype(np.float32))

    own, start = Row(name, "own grid"), time.perf_counter()
    own.compare(expected, *_swap(predict(path, edges, None, folder), source.affine))
    own.bad += f" {own.wrong} voxels differ" if own.wrong else ""
    own.seconds = time.perf_counter() - start
    yield own

    row, start = Row(name, "resampled"), time.perf_counter()
    if is_label:
        single = folder / "single.nii.gz"
        for label in np.unique(expected[expected > 0]):
            nib.save(nib.Nifti1Image((expected == label).astype(np.uint8), source.affine), single)
            row.compare(expected == label, *_swap(predict(single, np.array([0.5]), finer, folder), source.affine))
    else:
        row.compare(expected > 0, *_swap(predict(path, edges[:1], finer, folder), source.affine))
    row.seconds = time.perf_counter() - start
    yield row


def _swap(result: tuple[np.ndarray, np.ndarray], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return result[0], affine, result[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--folders", nargs="+", default=FOLDERS)
    arguments = parser.parse_args()
    files = [path for folder in arguments.folders for path in sorted((arguments.root / folder).rglob("*.nii.gz"))]
    if not files:
        print(f"{arguments.root}: no .nii.gz in {', '.join(arguments.folders)}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    head = f"{'volume':<58} {'mode':<10} {'labels':>6} {'vanished':>8} {'differ':>8}"
    print(f"{head} {'worst mm':>9} {'in voxels':>9} {'s':>6}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            for row in check(path, str(path.relative_to(arguments.root)), Path(folder)):
                print(row, flush=True)
                rows.append(row)
    bad = sum(bool(row.bad) for row in rows)
    worst = max(row.worst_voxels for row in rows)
    total = sum(row.labels for row in rows)
    print(f"{len(files)} volumes, {total} label centroids compared, worst {worst:.3f} voxels; {bad} disagreements")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
