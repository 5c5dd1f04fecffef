"""Connected areas of one class, of all classes at once: time does not grow with the number of classes."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def areas_by_run(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find connected areas (8 neighbours) as runs: stretches of one label within a row.

    Args:
        labels: ``(H, W)`` of integers.

    Returns:
        Where in the flattened image each run starts ``(R,)``, and the number of the area it belongs to ``(R,)``.
    """
    start = np.ones(labels.shape, bool)
    start[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = np.cumsum(start.ravel(), dtype=np.int32).reshape(labels.shape) - 1
    upper, lower = labels[:-1], labels[1:]
    # Two runs touch where one of them begins above or below the other; the same pair once is enough.
    below = (upper == lower) & (start[:-1] | start[1:])
    right = (upper[:, :-1] == lower[:, 1:]) & start[:-1, 1:] & start[1:, 1:]  # corner to corner only
    left = (upper[:, 1:] == lower[:, :-1]) & start[:-1, 1:] & start[1:, 1:]
    one = np.concatenate([run[:-1][below], run[:-1, :-1][right], run[:-1, 1:][left]])
    other = np.concatenate([run[1:][below], run[1:, 1:][right], run[1:, :-1][left]])
    starts = np.flatnonzero(start)
    touching = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(starts),) * 2)
    return starts, connected_components(touching, directed=False)[1]
