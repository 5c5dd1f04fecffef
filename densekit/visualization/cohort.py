"""Volumes over a cohort: the usual figures per structure, and the cases that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OUTLIER = 3.5  # |robust z| above which a value stands out (Iglewicz and Hoaglin 1993)
FEWEST = 5  # with fewer values no value is said to stand out


@dataclass(frozen=True)
class VolumeSummary:
    """Volumes of one structure over the cases of a cohort.

    A case in which the structure was not found does not enter the mean as 0 ml: it is counted apart.

    Attributes:
        found: In how many cases the structure has a volume above 0.
        cases: How many cases there are a volume for (0 ml included).
        mean, sd, minimum, maximum, median: In ml, over the cases where it was found; None if there are none (``sd``,
            the sample standard deviation, also if there is only one).
    """

    found: int
    cases: int
    mean: float | None
    sd: float | None
    minimum: float | None
    maximum: float | None
    median: float | None


def summarize(volumes: Sequence[float]) -> VolumeSummary:
    """Summarize the volumes of one structure, in ml, one for each case."""
    found = np.array([v for v in volumes if v > 0], float)
    if not found.size:
        return VolumeSummary(0, len(volumes), None, None, None, None, None)
    return VolumeSummary(
        found=found.size,
        cases=len(volumes),
        mean=float(found.mean()),
        sd=float(found.std(ddof=1)) if found.size > 1 else None,
        minimum=float(found.min()),
        maximum=float(found.max()),
        median=float(np.median(found)),
    )


def robust_z(values: Sequence[float]) -> np.ndarray:
    """Return how far each value lies from the median, in robust standard deviations.

    The scale is the median absolute deviation; where more than half of the values are equal it would be 0, and the mean
    absolute deviation takes its place (Iglewicz and Hoaglin, *How to Detect and Handle Outliers*, 1993).
    """
    distance = np.asarray(values, float) - np.median(values)
    for scale in (np.median(np.abs(distance)) / 0.6745, np.mean(np.abs(distance)) * 1.2533):
        if scale > 0:
            return distance / scale
    return np.zeros(len(distance))


def find_outliers(volumes: Sequence[float | None]) -> dict[int, float]:
    """Return the places of volumes that stand out from the others, each with its robust z.

    Volumes of 0 and None (structure not found, case failed) are neither judged nor used to judge the others.
    """
    places = [i for i, volume in enumerate(volumes) if volume]
    if len(places) < FEWEST:
        return {}
    scores = robust_z([volumes[i] for i in places])
    return {i: float(z) for i, z in zip(places, scores, strict=True) if abs(z) > OUTLIER}
