"""What a data set is like: spacings, shapes, intensities inside the labelled structures, class volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

SAMPLE_PER_CASE = 100_000
"""Most labelled voxels of a case that enter the intensities if they are not integers."""

_ANISOTROPY = 3.0

Histogram = tuple[np.ndarray, np.ndarray]
"""Values in ascending order and how many voxels have each."""


def median_spacing(spacings: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return nnU-Net's target spacing: the median per axis, the 10th percentile on a strongly anisotropic axis.

    Strongly anisotropic is an axis of which the median spacing is more than 3 times that of both others. Its 10th
    percentile is taken so that the thin-sliced scans lose less; it never gets finer than the other axes.

    Args:
        spacings: Spacing (D, H, W) in mm of each training scan.
    """
    spacings = np.asarray(spacings, dtype=np.float64)
    target = np.median(spacings, axis=0)
    coarsest = int(target.argmax())
    others = np.delete(target, coarsest).max()
    if target[coarsest] > _ANISOTROPY * others:
        target[coarsest] = max(np.percentile(spacings[:, coarsest], 10), others)
    d, h, w = target.tolist()
    return d, h, w


def foreground_histograms(image: np.ndarray, label: np.ndarray, seed: Sequence[int]) -> list[Histogram]:
    """Return the intensities inside the labelled structures of one prepared case, for each channel.

    Integer images are counted exactly. Of others a seeded sample of :data:`SAMPLE_PER_CASE` voxels stands for all.

    Args:
        image: ``(C, d, h, w)``.
        label: ``(d, h, w)``; every value but 0 counts.
        seed: Seeds the sample.
    """
    inside = label > 0
    histograms = []
    for channel in image:
        values = channel[inside]
        total = values.size
        if not np.issubdtype(values.dtype, np.integer) and total > SAMPLE_PER_CASE:
            values = np.random.default_rng(seed).choice(values, SAMPLE_PER_CASE, replace=False)
        kept, counts = np.unique(values, return_counts=True)
        histograms.append((kept.astype(np.float64), counts * (total / max(values.size, 1))))
    return histograms


def summarize(histograms: Iterable[Histogram]) -> dict[str, float] | None:
    """Return mean, sd, median, min, max and the 0.5 and 99.5 percentiles of several histograms taken together.

    Equal to what NumPy computes from the single values, percentiles with linear interpolation included. None if there
    is no voxel at all.
    """
    histograms = list(histograms)
    values = np.concatenate([values for values, _ in histograms]) if histograms else np.empty(0)
    if values.size == 0:
        return None
    weights = np.concatenate([weights for _, weights in histograms])
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    up_to = np.cumsum(weights)
    mean = float(values @ weights / up_to[-1])

    def percentile(q: float) -> float:
        position = q / 100 * (up_to[-1] - 1)
        below = np.floor(position)
        index = np.searchsorted(up_to, [below, below + 1], side="right").clip(max=values.size - 1)
        low, high = values[index]
        return float(low + (high - low) * (position - below))

    return {
        "voxels": round(float(up_to[-1])),
        "mean": mean,
        "std": float(((values - mean) ** 2 @ weights / up_to[-1]) ** 0.5),
        "median": percentile(50),
        "min": float(values[0]),
        "max": float(values[-1]),
        "percentile_00_5": percentile(0.5),
        "percentile_99_5": percentile(99.5),
    }


def ct_intensity(summary: Mapping[str, float]) -> dict[str, float]:
    """Return the parameters of the ``"ct"`` normalisation from a channel's :func:`summarize`.

    The mean and the standard deviation are those of the unclipped voxels, as in nnU-Net.
    """
    return {
        "lower": summary["percentile_00_5"],
        "upper": summary["percentile_99_5"],
        "mean": summary["mean"],
        "std": summary["std"],
    }


def fingerprint(
    cases: Mapping[str, Mapping[str, Any]],
    intensities: Mapping[str, Mapping[str, float] | None],
    labels: Sequence[str],
    *,
    exact: bool,
) -> dict[str, Any]:
    """Return the contents of ``fingerprint.json``.

    Args:
        cases: ``case.json`` of every case by id.
        intensities: :func:`summarize` of each channel by name, over the labelled voxels of the training cases.
        labels: Class names by label value.
        exact: Whether the intensities were counted or sampled.
    """
    volumes = {name: [] for name in labels[1:]}
    labelled = [case for case in cases.values() if case["volumes_ml"] is not None]
    for case in labelled:
        for name, ml in case["volumes_ml"].items():
            if ml > 0:
                volumes[name].append(ml)
    sampled = f"a seeded sample of up to {SAMPLE_PER_CASE} voxels per case"
    return {
        "cases": len(cases),
        "labelled_cases": len(labelled),
        "source_spacing_mm": _per_axis([case["source_spacing"] for case in cases.values()]),
        "source_shape": _per_axis([case["shape_before"] for case in cases.values()]),
        "prepared_shape": _per_axis([case["shape"] for case in cases.values()]),
        "intensities": {
            "of": "labelled voxels of the training cases on the prepared grid",
            "method": "every voxel" if exact else sampled,
            "channels": dict(intensities),
        },
        "classes": {name: {"cases": len(mls), "volume_ml": _spread(mls)} for name, mls in volumes.items()},
    }


def _per_axis(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    rows = np.asarray(rows)
    return {"min": rows.min(0).tolist(), "median": np.median(rows, axis=0).tolist(), "max": rows.max(0).tolist()}


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    found = {"min": min(values), "median": float(np.median(values)), "mean": float(np.mean(values)), "max": max(values)}
    return {name: round(value, 4) for name, value in found.items()}
