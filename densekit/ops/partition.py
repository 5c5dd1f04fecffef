"""Unit partitions of D-Former: which tokens of a feature map attend to each other.

A map of ``D x H x W`` tokens is cut into units of ``u_d x u_h x u_w`` tokens in one of two ways (Wu et al., *D-Former*,
arXiv 2201.00462). With ``g`` units along an axis and a token at ``d`` on it:

====== =================== =========================== =================================================
module unit index          position inside the unit    a unit is
====== =================== =========================== =================================================
LSM    ``d div u``         ``d mod u``                 a contiguous brick (local)
GSM    ``d mod g``         ``d div g``                 tokens ``g`` apart, all over the map (dilated)
====== =================== =========================== =================================================

Everything here is a pure function of sizes: nothing is remembered between calls, so the result for a map never depends
on maps seen before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

Size3 = tuple[int, int, int]


@dataclass(frozen=True)
class UnitPartition:
    """How a map of one size is cut into units; made by :func:`unit_partition`.

    Attributes:
        size: Tokens of the map along (D, H, W).
        unit: Tokens of a unit along each axis.
        grid: Number of units along each axis; for a dilated partition also the step between a unit's tokens.
        dilated: False: bricks (LSM). True: dilated units (GSM).
    """

    size: Size3
    unit: Size3
    grid: Size3
    dilated: bool

    @property
    def padded(self) -> Size3:
        """Size of the map after padding at the end of each axis to whole units."""
        return tuple(u * g for u, g in zip(self.unit, self.grid, strict=True))

    @property
    def tokens(self) -> int:
        """Tokens in one unit, padding included."""
        return math.prod(self.unit)

    def partition(self, x: Tensor) -> Tensor:
        """Cut a map into units.

        Args:
            x: Map ``(B, D, H, W, C)`` of this partition's ``size``; padded with zeros at the end of its axes where
                needed.

        Returns:
            Units ``(B * units, tokens, C)``; both unit index and position inside a unit run with W fastest.
        """
        batch, channels = x.shape[0], x.shape[-1]
        if self.padded != self.size:
            after = [p - s for p, s in zip(self.padded, self.size, strict=True)]
            x = F.pad(x, (0, 0, 0, after[2], 0, after[1], 0, after[0]))
        (gd, gh, gw), (ud, uh, uw) = self.grid, self.unit
        if self.dilated:
            x = x.view(batch, ud, gd, uh, gh, uw, gw, channels).permute(0, 2, 4, 6, 1, 3, 5, 7)
        else:
            x = x.view(batch, gd, ud, gh, uh, gw, uw, channels).permute(0, 1, 3, 5, 2, 4, 6, 7)
        return x.reshape(-1, self.tokens, channels)

    def restore(self, units: Tensor) -> Tensor:
        """Put units back into a map: the inverse of :meth:`partition`, padding cropped away.

        Args:
            units: ``(B * units, tokens, C)``.

        Returns:
            Map ``(B, D, H, W, C)``.
        """
        channels = units.shape[-1]
        (gd, gh, gw), (ud, uh, uw) = self.grid, self.unit
        x = units.view(-1, gd, gh, gw, ud, uh, uw, channels)
        x = x.permute(0, 4, 1, 5, 2, 6, 3, 7) if self.dilated else x.permute(0, 1, 4, 2, 5, 3, 6, 7)
        x = x.reshape(-1, *self.padded, channels)
        d, h, w = self.size
        return x if self.padded == self.size else x[:, :d, :h, :w]

    def real_tokens(self, device: torch.device | str | None = None) -> Tensor | None:
        """Say which tokens of each unit belong to the map and which are padding.

        Every unit holds at least one real token, so a softmax over the real ones is always defined: padding is shorter
        than a unit on every axis, and a unit's first token along an axis lies at the brick's start (LSM) or below ``g``
        (GSM).

        Returns:
            Boolean ``(units, tokens)``, True for a real token; None if nothing is padded.
        """
        if self.padded == self.size:
            return None
        axes = []
        for size, unit, grid in zip(self.size, self.unit, self.grid, strict=True):
            real = torch.arange(unit * grid, device=device) < size
            axes.append(real.view(unit, grid).t() if self.dilated else real.view(grid, unit))
        # Outer product of the three (grid, unit) masks, then the axis order of `partition`.
        mask = reduce(lambda a, b: a[..., None, None] & b, axes)
        return mask.permute(0, 2, 4, 1, 3, 5).reshape(-1, self.tokens)


def unit_partition(size: Size3, unit: Size3, *, dilated: bool) -> UnitPartition:
    """Plan the partition of a map.

    Along each axis the unit is at most the map (``min(unit, size)``), and the map is padded at its end to whole units.
    As in the authors' code, a map of fewer rows (H) than the unit is one unit as a whole, along all three axes.

    Args:
        size: Tokens of the map along (D, H, W).
        unit: Wanted tokens of a unit along each axis.
        dilated: False for LSM (bricks), True for GSM (dilated units).
    """
    effective = tuple(size) if size[1] < unit[1] else tuple(min(u, s) for u, s in zip(unit, size, strict=True))
    grid = tuple(-(-s // u) for s, u in zip(size, effective, strict=True))
    return UnitPartition(tuple(size), effective, grid, dilated)
