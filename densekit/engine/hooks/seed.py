"""Random numbers inside the network as a function of seed and iteration."""

from __future__ import annotations

import random

import torch
from mmengine.hooks import Hook

from densekit.registry import HOOKS


@HOOKS.register_module()
class StatelessSeedHook(Hook):
    """Seeds torch and Python before every iteration from (seed, iteration, rank).

    Dropout and drop path then draw the same numbers whether a run went through or was killed and resumed, without a
    random state in the checkpoint. The data need no such hook: their randomness is a function of seed and sample index.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_epoch(self, runner) -> None:
        """Let MMDetection's BatchSyncRandomResize forget the size it has drawn: a resumed run does not know it."""
        for augment in getattr(runner.bare_model().data_preprocessor, "batch_augments", None) or ():
            if hasattr(augment, "_input_size"):
                augment._input_size = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        # Consecutive integers are fine seeds: the generators scramble them.
        seed = (self.seed * 1_000_003 + runner.iter) * 1009 + runner.rank
        torch.manual_seed(seed)
        random.seed(seed)  # what BatchSyncRandomResize draws its sizes with
