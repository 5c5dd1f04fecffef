"""Random numbers inside the network as a function of seed and iteration."""

from __future__ import annotations

import random
from typing import Any

import torch
from mmengine.hooks import Hook

from densekit.registry import HOOKS


@HOOKS.register_module()
class StatelessSeedHook(Hook):
    """Seeds torch and Python before every iteration from (seed, iteration, rank).

    Dropout and drop path then draw the same numbers whether a run went through or was killed and resumed, without a
    random state in the checkpoint; only the sizes drawn for several batches are in it. The data need no such hook:
    their randomness is a function of seed and sample index.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint["batch_shapes"] = [augment._input_size for augment in _resizing(runner)]

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner.resuming:
            for augment, size in zip(_resizing(runner), checkpoint.get("batch_shapes", ()), strict=False):
                augment._input_size = size

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        # Consecutive integers are fine seeds: the generators scramble them.
        seed = (self.seed * 1_000_003 + runner.iter) * 1009 + runner.rank
        torch.manual_seed(seed)
        random.seed(seed)  # what BatchSyncRandomResize draws its sizes with


def _resizing(runner) -> list[Any]:
    """MMDetection's BatchSyncRandomResize of a network: a size that it has drawn is kept for several batches."""
    augments = getattr(runner.bare_model().data_preprocessor, "batch_augments", None) or ()
    return [augment for augment in augments if hasattr(augment, "_input_size")]
