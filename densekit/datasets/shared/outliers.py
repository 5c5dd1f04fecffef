"""Which values of a cohort stand out from the others: one rule for data that are checked and for predicted volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

OUTLIER = 3.5
"""Robust z, in either direction, beyond which a value stands out (Iglewicz and Hoaglin 1993)."""

FEWEST = 5
"""With fewer values none is said to stand out."""

_LEAST_SPREAD = 0.05
"""Standard deviation of the logarithms is never taken for less: where nearly all values are equal, a rounding would
stand out."""


def find_outliers(values: Sequence[float | None]) -> dict[int, float]:
    """Return the places of values that stand out from the others, each with its robust z.

    The robust z is the distance from the median in standard deviations, both of the logarithms: of sizes, twice and
    half as much are equally far away. The standard deviation is taken from the median absolute deviation.

    Args:
        values: Volumes or spacings, above 0, in any unit. 0 and None (structure not found, case failed) are neither
            judged nor used to judge the others.
    """
    places = [place for place, value in enumerate(values) if value]
    if len(places) < FEWEST:
        return {}
    logs = np.log([values[place] for place in places])
    distance = logs - np.median(logs)
    scores = distance / max(1.4826 * float(np.median(np.abs(distance))), _LEAST_SPREAD)
    return {place: float(z) for place, z in zip(places, scores, strict=True) if abs(z) > OUTLIER}
