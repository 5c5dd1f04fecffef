"""Integrated batch normalisation (Wang et al., *Scale-Equalizing Pyramid Convolution*, CVPR 2020, arXiv 2005.03101)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from densekit.errors import ConfigError


def integrated_norm(norm: _BatchNorm, maps: Sequence[Tensor]) -> list[Tensor]:
    """Normalise all levels of a pyramid with common statistics, so that each level counts by its area.

    In training, mean and variance are those of the levels laid side by side. With running statistics that is the same
    as normalising each level by itself, which is what happens then.

    Args:
        norm: An ordinary batch norm, synchronised or not.
        maps: ``(B, C, H_l, W_l)`` per level.

    Returns:
        Maps of the same shapes.
    """
    if not norm.training and norm.running_mean is not None:
        return [norm(x) for x in maps]
    sizes = [x.shape[2:] for x in maps]
    together = norm(torch.cat([x.flatten(2) for x in maps], dim=2)[:, :, None])[:, :, 0]
    parts = together.split([size.numel() for size in sizes], dim=2)
    return [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


def check_integrable(part: str, norm: nn.Module) -> None:
    """Raise ConfigError unless ``norm`` is a batch norm: another one has no statistics for the levels to share."""
    if not isinstance(norm, _BatchNorm):
        raise ConfigError(
            f"{part}.norm_cfg: integrated normalisation needs a batch norm, {type(norm).__name__} has no statistics of "
            "a batch to share between levels; set norm_cfg=dict(type='BN') or dict(type='SyncBN'), or ibn=False"
        )
