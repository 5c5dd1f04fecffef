"""Scores of a semantic segmentation, from counted pixels alone: IoU, accuracy, Dice, boundary IoU, and how sure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from densekit.evaluation.segmentation.counts import SegmentationCounts
from densekit.evaluation.segmentation.errors import KINDS

MEANS = ("mIoU", "mAcc", "aAcc", "mDice", "boundary_IoU")
"""Scores over all classes."""
PER_CLASS = ("IoU", "Acc", "Precision", "Dice", "boundary_IoU")
"""Scores of a class."""
RESAMPLES = 1000
_LEVEL = 0.95
_AT_A_TIME = 50
_FEW = 2
"""Images from which on an interval can be given."""
_COUNTED = 6
"""Numbers of a class that its scores need: pixels in both, in the truth, found; the same of its boundary."""


@dataclass(frozen=True)
class SegmentationScores:
    """The scores of a data set, 0 to 1; NaN where there is nothing to score.

    Attributes:
        names: Class names.
        images: How many were scored.
        mIoU: Mean over the classes of IoU: pixels right over pixels that are, or were found, of the class, of all
            images together. A class that is neither there nor found has no IoU and is not in the mean; one that is only
            found has 0.
        mAcc: Mean over the classes that are there of the share of their pixels that is right.
        aAcc: Share of all pixels that is right.
        mDice: Mean over the classes of Dice (F1), as mIoU.
        boundary_IoU: Mean over the classes of boundary IoU (Cheng et al. 2021, arXiv 2103.16562): the IoU of what lies,
            of both masks, within a width of their own boundaries.
        per_class: Of each class the scores :data:`PER_CLASS` and ``pixels`` (of the truth), ``found`` (pixels) and
            ``images`` in which the truth has it.
        confusion: ``(K, K)`` of int64, pixels: row = what it is, column = what it was taken for.
        intervals: 95 % intervals of the means, and of the IoU of the classes as ``IoU/<class>``: percentiles over
            samples of the images with replacement. They say how much the score depends on which images were scored; not
            how much on the seed of the training.
        errors: Share of all pixels that is wrong, by kind (:data:`~densekit.evaluation.segmentation.errors.KINDS`): in
            sum 1 - aAcc. Empty if they were not counted.
        errors_per_class: The same of the pixels of each class.
    """

    names: tuple[str, ...]
    images: int
    mIoU: float
    mAcc: float
    aAcc: float
    mDice: float
    boundary_IoU: float
    per_class: Mapping[str, Mapping[str, float]]
    confusion: np.ndarray
    intervals: Mapping[str, tuple[float, float]]
    errors: Mapping[str, float]
    errors_per_class: Mapping[str, Mapping[str, float]]

    def __repr__(self) -> str:
        return self.render()

    def rows(self) -> list[dict[str, Any]]:
        """One row per class, the means over the classes first."""
        means = (self.mIoU, self.mAcc, np.nan, self.mDice, self.boundary_IoU)
        pixels, found = (sum(int(row[key]) for row in self.per_class.values()) for key in ("pixels", "found"))
        everything = {"pixels": pixels, "found": found, "images": self.images}
        return [
            {"class": "all", **dict(zip(PER_CLASS, means, strict=True)), **everything},
            *({"class": name, **row} for name, row in self.per_class.items()),
        ]

    def render(self) -> str:
        """A table for the screen."""
        rows = self.rows()
        width = max(len(row["class"]) for row in rows)
        lines = [f"{'class':<{width}} {'pixels':>14} {'images':>7} " + " ".join(f"{c:>12}" for c in PER_CLASS)]
        for row in rows:
            cells = " ".join(f"{'-':>12}" if row[c] != row[c] else f"{row[c]:12.3f}" for c in PER_CLASS)
            lines.append(f"{row['class']:<{width}} {row['pixels']:>14,} {row['images']:>7,} {cells}")
        lines.append(f"{self.aAcc:.3f} of the pixels are right" if self.aAcc == self.aAcc else "nothing was scored")
        if "mIoU" in self.intervals:
            low, high = self.intervals["mIoU"]
            lines.append(f"mIoU {self.mIoU:.3f}, 95 % interval {low:.3f} to {high:.3f} over {self.images:,} images")
        if self.errors:
            shares = ", ".join(f"{kind} {share:.3f}" for kind, share in self.errors.items())
            lines.append(f"wrong pixels, as shares of all: {shares}")
        return "\n".join(lines)


def score_all(
    counts: SegmentationCounts | str | os.PathLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> SegmentationScores:
    """Score what was counted.

    Args:
        counts: Or the file that has them.
        resamples: Samples of the images for the intervals; 0: no intervals.
        seed: Of these.

    Raises:
        DataError: if the file cannot be read.
    """
    if not isinstance(counts, SegmentationCounts):
        counts = SegmentationCounts.read(counts)
    tallies = _tallies(counts)
    total = tallies.sum(axis=0)
    classes = _class_scores(total)
    per_class = {
        name: {
            **{key: float(classes[key][label]) for key in PER_CLASS},
            "pixels": int(total[label, 1]),
            "found": int(total[label, 2]),
            "images": int((tallies[:, label, 1] > 0).sum()),
        }
        for label, name in enumerate(counts.names)
    }
    errors, by_class = _error_shares(counts, total[:, 1])
    return SegmentationScores(
        names=counts.names,
        images=len(counts.files),
        **{key: float(value) for key, value in _means(total).items()},
        per_class=per_class,
        confusion=counts.confusion(),
        intervals=_intervals(tallies, counts.names, resamples, seed),
        errors=errors,
        errors_per_class=by_class,
    )


def _tallies(counts: SegmentationCounts) -> np.ndarray:
    """The numbers that the scores need, by image and class ``(N, K, 6)`` of float64: whole numbers, exact to 2^53."""
    tallies = np.zeros((len(counts.files), len(counts.names), _COUNTED))
    image, truth, found, pixels = counts.cells.T
    right = truth == found
    np.add.at(tallies, (image[right], truth[right], 0), pixels[right])
    np.add.at(tallies, (image, truth, 1), pixels)
    np.add.at(tallies, (image, found, 2), pixels)
    tallies[counts.borders[:, 0], counts.borders[:, 1], 3:] = counts.borders[:, 2:5]
    return tallies


def _class_scores(total: np.ndarray) -> dict[str, np.ndarray]:
    """The scores of the classes from their numbers ``(..., K, 6)``."""
    both, true, found, edge_both, edge_true, edge_found = np.moveaxis(total, -1, 0)
    return {
        "IoU": _over(both, true + found - both),
        "Acc": _over(both, true),
        "Precision": _over(both, found),
        "Dice": _over(2 * both, true + found),
        "boundary_IoU": _over(edge_both, edge_true + edge_found - edge_both),
    }


def _means(total: np.ndarray) -> dict[str, np.ndarray]:
    classes = _class_scores(total)
    return {
        "mIoU": _mean(classes["IoU"]),
        "mAcc": _mean(classes["Acc"]),
        "aAcc": _over(total[..., 0].sum(axis=-1), total[..., 1].sum(axis=-1)),
        "mDice": _mean(classes["Dice"]),
        "boundary_IoU": _mean(classes["boundary_IoU"]),
    }


def _over(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    return _over(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def _error_shares(
    counts: SegmentationCounts, pixels: np.ndarray
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    if counts.boundary is None:
        return {}, {}
    kinds = np.zeros((len(counts.names), len(KINDS)))
    np.add.at(kinds, counts.borders[:, 1], counts.borders[:, 5:])
    shares = _over(kinds.sum(axis=0), np.broadcast_to(pixels.sum(), len(KINDS)))
    by_class = _over(kinds, np.broadcast_to(pixels[:, None], kinds.shape))
    return (
        dict(zip(KINDS, shares.tolist(), strict=True)),
        {name: dict(zip(KINDS, row.tolist(), strict=True)) for name, row in zip(counts.names, by_class, strict=True)},
    )


def _intervals(
    tallies: np.ndarray, names: tuple[str, ...], resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals over samples of the images; a sample in which a score is not defined does not count."""
    images = len(tallies)
    if images < _FEW or not resamples:
        return {}
    generator = np.random.default_rng(seed)
    flat = tallies.reshape(images, -1)
    drawn: dict[str, list[np.ndarray]] = {key: [] for key in (*MEANS, "IoU")}
    for first in range(0, resamples, _AT_A_TIME):
        times = generator.multinomial(images, np.full(images, 1 / images), min(_AT_A_TIME, resamples - first))
        total = (times @ flat).reshape(len(times), len(names), _COUNTED)
        for key, values in (*_means(total).items(), ("IoU", _class_scores(total)["IoU"])):
            drawn[key].append(values)
    by_score = {key: np.concatenate(drawn[key]) for key in MEANS}
    by_score |= {f"IoU/{name}": column for name, column in zip(names, np.concatenate(drawn["IoU"]).T, strict=True)}
    tail = 100 * (1 - _LEVEL) / 2
    return {
        key: tuple(np.nanpercentile(values, (tail, 100 - tail)).tolist())
        for key, values in by_score.items()
        if np.isfinite(values).any()
    }
