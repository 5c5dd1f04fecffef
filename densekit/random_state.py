"""The random generators of Python, numpy and torch as one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Put back all generators afterwards, those of the GPUs included."""
    import torch  # loaded late: drawing alone must not wait for it

    python, numpy, seed = random.getstate(), np.random.get_state(), torch.initial_seed()
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
    if not gpus and torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)  # not begun yet: its generators will start from the seed set last
