"""Layers of torchvision, which is imported when the first is built: a network of volumes needs none of it."""

from __future__ import annotations

from torch import nn


def stochastic_depth(rate: float) -> nn.Module:
    """Leaves out each sample of a batch with a probability, in training (Huang et al. 2016, arXiv 1603.09382)."""
    from torchvision.ops import StochasticDepth

    return StochasticDepth(rate, "row")


def squeeze_excitation(channels: int, squeezed: int) -> nn.Module:
    """Weights channels by what all pixels say, through so many (Hu et al. 2018, arXiv 1709.01507)."""
    from torchvision.ops import SqueezeExcitation

    return SqueezeExcitation(channels, squeezed)
