"""Random numbers inside the network as a function of seed and iteration."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook

from densekit.registry import HOOKS


@HOOKS.register_module()
class StatelessSeedHook(Hook):
    """Seeds torch before every iteration from (seed, iteration, rank).

    Dropout and drop path then draw the same numbers whether a run went through or was killed and resumed, without a
    random state in the checkpoint. The data need no such hook: their randomness is a function of seed and sample index.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        # Consecutive integers are fine seeds: torch's generators scramble them.
        torch.manual_seed((self.seed * 1_000_003 + runner.iter) * 1009 + runner.rank)
