"""Volumes over a cohort: the usual figures per structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
