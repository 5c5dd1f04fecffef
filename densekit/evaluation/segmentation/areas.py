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
    starts = np.flatnonzero(start)
    run = np.repeat(np.arange(len(starts), dtype=np.int32), np.diff(starts, append=labels.size))
    # Two runs touch where one begins above or below the other, or at a corner; the same pair once is enough.
    width = labels.shape[1]
    below = np.flatnonzero((labels[:-1] == labels[1:]) & (start[:-1] | start[1:]))
    edges = np.flatnonzero(start[:-1] & start[1:])
    edges = edges[edges % width > 0]
    values = labels.ravel()
    right = edges[values[edges - 1] == values[edges + width]]
    left = edges[values[edges] == values[edges + width - 1]]
    one = run[np.concatenate([below, right - 1, left])]
    other = run[np.concatenate([below + width, right + width, left + width - 1])]
    touching = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(starts),) * 2)
    return starts, connected_components(touching, directed=False)[1]
