"""The four label encodings under which the Synapse (BTCV) organs travel, and the check of which one labels use.

No label file names its encoding, and a wrong choice trains without complaint on exchanged organs; so the encoding is
an explicit option and is checked against the voxel counts before anything is prepared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densekit.errors import ConfigError, DataError, few

BTCV_LABELS = (
    "background",
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic vein",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
)
"""Names by raw BTCV id: the label order with 13 classes."""

SYNAPSE_ORGANS = ("aorta", "gallbladder", "left kidney", "right kidney", "liver", "pancreas", "spleen", "stomach")
"""The eight scored organs in the order of the literature's tables: label ids 1 to 8 with 8 classes."""

_PACKED = ("spleen", "right kidney", "left kidney", "gallbladder", "liver", "stomach", "aorta", "pancreas")
_CASCADE = ("spleen", "right kidney", "left kidney", "gallbladder", "pancreas", "liver", "stomach", "aorta")

ENCODINGS: dict[str, dict[int, str]] = {
    "raw": dict(enumerate(BTCV_LABELS[1:], start=1)),
    "transunet": dict(enumerate(SYNAPSE_ORGANS, start=1)),
    "packed": dict(enumerate(_PACKED, start=1)),
    "cascade": dict(enumerate(_CASCADE, start=1)),
}
"""Organ by label value, for each encoding; the value 0 is the background in all of them."""

# Ratio of the mean counts of labels 2 and 3. A gallbladder has 10 to 35 % of a kidney's volume, two kidneys differ by a
# fifth; between the two bounds one small kidney or one large gallbladder could decide, so nothing is concluded.
_GALLBLADDER_BELOW, _KIDNEYS_ABOVE = 0.45, 0.65


@dataclass(frozen=True)
class LabelSummary:
    """Voxel count and centroid (d, h, w; voxel indices) of each label value of one case, the background left out."""

    counts: dict[int, int]
    centroids: dict[int, np.ndarray]

    @classmethod
    def of(cls, label: np.ndarray) -> LabelSummary:
        """Summarise a label map ``(D, H, W)`` of an integer dtype."""
        index = np.flatnonzero(label)
        values = label.reshape(-1)[index].astype(np.int64)
        if values.size and values.min() < 0:
            raise DataError(f"label values reach down to {values.min()}; expected 0 for background and organs above it")
        counts = np.bincount(values)
        sums = [np.bincount(values, weights=axis) for axis in np.unravel_index(index, label.shape)]
        present = [int(v) for v in np.flatnonzero(counts)]
        return cls(
            counts={v: int(counts[v]) for v in present},
            centroids={v: np.array([s[v] / counts[v] for s in sums]) for v in present},
        )


def remap_table(encoding: str, classes: int) -> dict[int, int] | None:
    """Return stored value by file value: raw ids with 13 classes, ``SYNAPSE_ORGANS``' order with 8; None if the same.

    Raises:
        ConfigError: for an unknown encoding or class count, or 13 classes from files that hold 8 organs.
    """
    if encoding not in ENCODINGS:
        raise ConfigError(f"encoding={encoding!r}: expected one of {few(ENCODINGS)}")
    if classes not in (8, 13):
        raise ConfigError(
            f"classes={classes}: expected 13 (train all organs of BTCV, score 8) or 8 (train these 8 only)"
        )
    if classes == 13:
        if encoding != "raw":
            raise ConfigError(f"classes=13: files with encoding={encoding!r} hold 8 organs; pass classes=8")
        return None
    if encoding == "transunet":
        return None
    stored = {organ: value for value, organ in enumerate(SYNAPSE_ORGANS, start=1)}
    return {0: 0} | {value: stored.get(organ, 0) for value, organ in ENCODINGS[encoding].items()}


def detect_encoding(summaries: Sequence[LabelSummary]) -> tuple[str | None, str]:
    """Return the encoding that the voxel counts speak for (None if they do not tell), and the evidence in words."""
    highest = max((value for s in summaries for value in s.counts), default=0)
    if highest > 8:
        return "raw", f"label {highest} occurs, and only raw BTCV ids go above 8"
    totals = {v: [s.counts[v] for s in summaries if v in s.counts] for v in range(1, 9)}
    means = {v: float(np.mean(counts)) for v, counts in totals.items() if counts}
    both = [(s.counts[2], s.counts[3]) for s in summaries if 2 in s.counts and 3 in s.counts]
    if not both or not {5, 6} <= means.keys():
        shown = few(sorted(means)) or "none"
        return None, f"the labels found ({shown}) lack 2, 3, 5 or 6, which tell the encodings apart"
    largest = max(means, key=means.__getitem__)
    if largest == 6:
        return "cascade", f"no label is above 8 and label 6 is the largest, {means[6]:.0f} voxels a case, as a liver is"
    second, third = np.mean(both, axis=0)
    counted = f"over {len(both)} case(s) label 2 has {second:.0f} voxels and label 3 has {third:.0f}"
    if largest == 5 and second < _GALLBLADDER_BELOW * third:
        return "transunet", f"{counted}, as gallbladder and kidney do, and label 5 is the largest, as the liver is"
    if largest == 5 and _KIDNEYS_ABOVE < second / third < 1 / _KIDNEYS_ABOVE:
        return "packed", f"{counted}, as two kidneys do, and label 5 is the largest, as the liver is"
    return None, f"{counted}, and label {largest} is the largest: this fits none of the known encodings"


def check_encoding(encoding: str, summaries: Iterable[LabelSummary], where: Path | str) -> str:
    """Check the encoding option against the labels; summaries are drawn only until a label above 8 settles it.

    Returns:
        A note: confirmed, with the evidence, or that the labels do not tell.

    Raises:
        DataError: if the labels contradict ``encoding``, with the evidence and the option that fits.
    """
    drawn = []
    for summary in summaries:
        drawn.append(summary)
        if max(summary.counts, default=0) > 8:
            break
    found, evidence = detect_encoding(drawn)
    if found is None:
        return f"encoding {encoding!r} is taken on trust: {evidence}"
    if found != encoding:
        classes = "" if found == "raw" else " and classes=8"
        raise DataError(
            f"{where}: encoding={encoding!r} does not fit the labels: {evidence}; pass encoding={found!r}{classes}"
        )
    return f"encoding {encoding!r} agrees with the labels: {evidence}"
