"""Adaptive feature pooling (PANet, arXiv 1803.01534): one layer per pyramid level, then one map of them all."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor, nn

from densekit.errors import ConfigError, close_names

FUSIONS = {"max": torch.maximum, "sum": torch.add}


class LevelFusion(nn.Module):
    """Send a region's features on each level through that level's own layer and fuse the results.

    Args:
        layers: One per level.
        fusion: ``"max"`` as in the paper, or ``"sum"``.

    Raises:
        ConfigError: for another ``fusion``.
    """

    def __init__(self, layers: Iterable[nn.Module], fusion: str = "max"):
        super().__init__()
        if fusion not in FUSIONS:
            raise ConfigError(f"fusion={fusion!r}: expected 'max' or 'sum'{close_names(fusion, FUSIONS)}")
        self.levels = nn.ModuleList(layers)
        self.fusion = fusion

    def forward(self, x: Tensor) -> Tensor:
        """Fuse ``(K, levels, ...)`` to ``(K, ...)``; a tensor flattened to ``(K, levels * F)`` is taken apart again."""
        if x.ndim == 2:
            x = x.unflatten(1, (len(self.levels), -1))
        return reduce(FUSIONS[self.fusion], [layer(x[:, level]) for level, layer in enumerate(self.levels)])
