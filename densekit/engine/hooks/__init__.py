"""Hooks of densekit's training runs."""

from densekit.engine.hooks.buffers import AverageBuffersHook
from densekit.engine.hooks.checkpoint import BestAndLastHook
from densekit.engine.hooks.final_epochs import FinalEpochsHook
from densekit.engine.hooks.finite import FiniteLossHook
from densekit.engine.hooks.records import CsvLogHook
from densekit.engine.hooks.seed import StatelessSeedHook

__all__ = [
    "AverageBuffersHook",
    "BestAndLastHook",
    "CsvLogHook",
    "FinalEpochsHook",
    "FiniteLossHook",
    "StatelessSeedHook",
]
