"""Varying window attention (VWFormer, Yan et al. 2024, arXiv 2404.16573): windows that look R times as far as they are.

A map is cut into query windows of ``p_h x p_w`` tokens. Each attends to a context window of R times its sides, centred
on it, at the cost of attention within the window itself:

1. the map is scaled down in channels, to ``C / R^2``, by an RxR convolution of stride 1 (densely overlapping patch
   embedding), before any window is cut;
2. at its border it is padded with copies of what it holds (copy-shift padding): zeros would draw the softmax to them;
3. each RxR cell of a context window is moved to the channels, which are C again, and ``p_h x p_w`` tokens are left.

What a border window sees is the context window shifted until it lies inside the map, only in rotated order.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.errors import ConfigError, close_names

logger = logging.getLogger("densekit")


# --- windows ----------------------------------------------------------------------------------------------------------
def cut_windows(x: Tensor, size: Sequence[int]) -> Tensor:
    """``(B, C, n_h * p_h, n_w * p_w)`` to windows ``(B * n_h * n_w, C, p_h, p_w)``, which do not overlap."""
    batch, channels, height, width = x.shape
    ph, pw = size
    x = x.reshape(batch, channels, height // ph, ph, width // pw, pw)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, ph, pw)


def join_windows(windows: Tensor, grid: Sequence[int]) -> Tensor:
    """Inverse of :func:`cut_windows`; ``grid`` is ``(n_h, n_w)``."""
    _, channels, ph, pw = windows.shape
    nh, nw = grid
    x = windows.reshape(-1, nh, nw, channels, ph, pw).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(-1, channels, nh * ph, nw * pw)


def copy_shift_pad(x: Tensor, ratio: int, size: Sequence[int]) -> Tensor:
    """Pad each side of a map by about ``(R - 1) * p / 2`` with the strip that lies just beyond the opposite side.

    Corners are copies of copies: the width is padded first. A map smaller than the context window is filled up with
    zeros for the strips to be taken from.

    Args:
        x: ``(B, C, H, W)``.
        ratio: R.
        size: ``(p_h, p_w)`` of the query windows.
    """
    for axis, p in ((3, size[1]), (2, size[0])):
        side, context, middle = x.shape[axis], ratio * p, (ratio + 1) * p // 2
        missing = max(context - side, 0)
        around = [missing // 2, missing - missing // 2]
        source = F.pad(x, [*around, 0, 0] if axis == 3 else [0, 0, *around]) if missing else x
        left = source.narrow(axis, middle, context - middle)
        right = source.narrow(axis, source.shape[axis] - context, context - middle)
        x = torch.cat([left, x, right], dim=axis)
    return x


def space_to_depth(x: Tensor, ratio: int) -> Tensor:
    """``(..., c, R * h, R * w)`` to ``(..., R * R * c, h, w)``; among channels, rows of cells run slowest, c fastest.

    ``out[..., (dy * R + dx) * c + k, y, x] = in[..., k, y * R + dy, x * R + dx]``
    """
    *leading, channels, height, width = x.shape
    x = x.reshape(-1, channels, height // ratio, ratio, width // ratio, ratio).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(*leading, channels * ratio**2, height // ratio, width // ratio)


def context_windows(x: Tensor, ratio: int, size: Sequence[int]) -> Tensor:
    """The context of every query window, in as many tokens as that has.

    Args:
        x: The scaled map ``(B, C / R^2, n_h * p_h, n_w * p_w)``.
        ratio: R.
        size: ``(p_h, p_w)`` of the query windows.

    Returns:
        ``(B * n_h * n_w, C, p_h, p_w)``.
    """
    (ph, pw), grid = size, [side // p for side, p in zip(x.shape[2:], size, strict=True)]
    windows = copy_shift_pad(x, ratio, size).unfold(2, ratio * ph, ph).unfold(3, ratio * pw, pw)
    # Where a window is one token wide, the rounding of the strips leaves room for one more.
    windows = windows[:, :, : grid[0], : grid[1]].permute(0, 2, 3, 1, 4, 5)
    return space_to_depth(windows, ratio).flatten(0, 2)


# --- attention --------------------------------------------------------------------------------------------------------
class NonLocalAttention(nn.Module):
    """Attention of the released ADE20K head: an embedded-Gaussian non-local block whose output is normalised.

    The weight of that norm starts at 0, and with it what the block gives.

    Args:
        channels: C.
        heads: Heads, which divide C.
        norm_cfg: Norm of the output.
    """

    def __init__(self, channels: int, heads: int, norm_cfg: Mapping[str, Any]):
        super().__init__()
        self.heads = heads
        self.theta, self.phi, self.g = (ConvModule(channels, channels, 1, act_cfg=None) for _ in range(3))
        self.conv_out = ConvModule(channels, channels, 1, norm_cfg=dict(norm_cfg), act_cfg=None)
        nn.init.normal_(self.theta.conv.weight, std=0.01)
        nn.init.zeros_(self.conv_out.norm.weight)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Windows ``(N, C, p_h, p_w)`` and their context of the same shape to ``(N, C, p_h, p_w)``."""
        parts = (self.theta(query), self.phi(context), self.g(context))
        # Contiguous, since with channels apart PyTorch writes down all weights of the attention.
        q, k, v = (x.flatten(2).unflatten(1, (self.heads, -1)).mT.contiguous() for x in parts)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.conv_out(y.mT.reshape(query.shape))


class MultiheadAttention(nn.MultiheadAttention):
    """PyTorch's attention between windows: that of the Cityscapes head and of the mask decoders."""

    def __init__(self, channels: int, heads: int, norm_cfg: Mapping[str, Any]):
        del norm_cfg  # it has none
        super().__init__(channels, heads, batch_first=True)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """As :meth:`NonLocalAttention.forward`."""
        q, k = (x.flatten(2).transpose(1, 2) for x in (query, context))
        return super().forward(q, k, k, need_weights=False)[0].transpose(1, 2).reshape(query.shape)


ATTENTIONS = {"nonlocal": NonLocalAttention, "multihead": MultiheadAttention}


class VaryingWindowAttention(nn.Module):
    """One branch of VWFormer: query windows attend to context windows of R times their sides.

    Sides that the windows do not divide are filled up with copies of the last row and column, and what comes of these
    is cut off.

    Args:
        channels: C, a multiple of R^2.
        ratio: R.
        attention: ``"nonlocal"`` or ``"multihead"``.
        heads: Heads of the attention; they divide C.
        short_cut: Add the map itself.
        grid: ``(n_h, n_w)``: so many windows, whatever the size of the map; as released. The cost grows with the square
            of the number of pixels.
        window: Side of the windows in tokens, instead of ``grid``: the cost grows with the number of pixels. On a map
            smaller than the context of such a window, windows are made smaller, so that their context is the map.
        norm_cfg: Norm after the scaling convolution, and in non-local attention.
        scaling_bias: A bias before that norm, as in the released mask decoders.

    Raises:
        ConfigError: for another ``attention``, numbers that do not divide C, or no positive sizes.
    """

    def __init__(
        self,
        channels: int,
        ratio: int,
        *,
        attention: str = "multihead",
        heads: int = 16,
        short_cut: bool = False,
        grid: Sequence[int] = (8, 8),
        window: int | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        scaling_bias: bool = False,
    ):
        super().__init__()
        _check(channels, ratio, attention, heads, grid, window)
        norm_cfg = norm_cfg or {"type": "BN"}
        self.ratio, self.short_cut, self.grid, self.window = ratio, short_cut, tuple(grid), window
        with warnings.catch_warnings():  # that a bias before a norm does nothing; released weights have it
            warnings.filterwarnings("ignore", message="Unnecessary conv bias")
            bias = "auto" if not scaling_bias else True
            self.scaling = ConvModule(channels, channels // ratio**2, ratio, norm_cfg=dict(norm_cfg), bias=bias)
        self.attention = ATTENTIONS[attention](channels, heads, norm_cfg)

    def _plan(self, side: int, windows: int) -> tuple[int, int]:
        """Side of a window, and number of windows, along an axis of the map."""
        if self.window is None:
            return math.ceil(side / windows), windows
        size = min(self.window, math.ceil(side / self.ratio))
        return size, max(math.ceil(side / size), self.ratio)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        height, width = x.shape[2:]
        (ph, nh), (pw, nw) = (self._plan(*axis) for axis in zip((height, width), self.grid, strict=True))
        below, right = nh * ph - height, nw * pw - width
        whole = F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
        before, after = max(self.ratio // 2 - 1, 0), self.ratio // 2
        scaled = self.scaling(F.pad(whole, (before, after, before, after)))
        context = context_windows(scaled, self.ratio, (ph, pw))
        y = join_windows(self.attention(cut_windows(whole, (ph, pw)), context), (nh, nw))[..., :height, :width]
        return x + y if self.short_cut else y


def _check(channels: int, ratio: int, attention: str, heads: int, grid: Sequence[int], window: int | None) -> None:
    if attention not in ATTENTIONS:
        raise ConfigError(
            f"attention={attention!r}: expected {' or '.join(map(repr, ATTENTIONS))}"
            f"{close_names(str(attention), ATTENTIONS)}"
        )
    if heads < 1 or channels % heads:
        raise ConfigError(f"heads={heads}: expected a number that divides the {channels} channels")
    if ratio < 2 or ratio % 2 or channels % ratio**2:
        raise ConfigError(
            f"ratios: {ratio} is no even number whose square divides the {channels} channels; expected such as 2, 4, 8"
        )
    if window is not None and window < 1:
        raise ConfigError(f"window={window}: expected None or a whole number from 1 on, such as 8")
    if len(grid) != 2 or min(grid) < 1:
        raise ConfigError(f"grid={grid!r}: expected two whole numbers from 1 on, such as (8, 8)")
    if window is None and min(grid) < ratio:
        logger.warning(
            "grid=%s: fewer windows than the ratio %d, so the map is filled up with zeros, which draw attention to "
            "them; from (%d, %d) on it is not",
            tuple(grid),
            ratio,
            ratio,
            ratio,
        )
