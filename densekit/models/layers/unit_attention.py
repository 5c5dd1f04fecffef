"""Local and global scope attention of D-Former (Wu et al., arXiv 2201.00462), position encoding, block and stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.errors import ConfigError
from densekit.models.layers.chunks import chunked, frugal, recomputed
from densekit.ops.partition import unit_partition


class UnitAttention(nn.Module):
    """Multi-head self-attention among the tokens of each unit.

    Args:
        dim: Channels C.
        heads: Attention heads; must divide ``dim``.

    Raises:
        ConfigError: if the channels do not divide into the heads.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        if dim % heads:
            raise ConfigError(f"{dim} channels do not divide into {heads} attention heads; change heads or widths")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, qkv: Tensor, real: Tensor | None) -> Tensor:
        """Attend within units.

        Args:
            qkv: Queries, keys and values side by side, ``(N, tokens, 3C)``, as the layer ``qkv`` makes them of tokens.
            real: ``(N, tokens)``, False for tokens that are padding and must not be attended to. None: there are none.

        Returns:
            ``(N, tokens, C)``.
        """
        number, tokens, dim = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        q, k, v = qkv.view(number, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mask = None if real is None else real[:, None, None, :].expand(-1, 1, tokens, -1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(attended.transpose(1, 2).reshape(number, tokens, dim))


class DynamicPositionEncoding(nn.Module):
    """Dynamic position encoding (DPE) of D-Former: ``x + DWConv3d(x)``, the conditional encoding of CPVT in 3D.

    A depth-wise 3x3x3 convolution tells tokens apart by their surroundings, so that any map size will do.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.conv = nn.Conv3d(dim, dim, kernel_size=3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Add the encoding to a channel-last map ``(B, D, H, W, C)``."""
        # The permuted view *is* the channels_last_3d layout, in which depth-wise convolution is several times faster on
        # the CPU.
        return x + self._convolve(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)

    def _convolve(self, x: Tensor) -> Tensor:
        """In full precision on a CPU: there the bfloat16 weight gradient of oneDNN's depth-wise 3D convolution reads
        memory that nothing was written to (torch 2.14), which now and then is NaN."""
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self.conv(x.float()).to(x.dtype)
        return self.conv(x)


class DFormerBlock(nn.Module):
    """Pre-norm transformer block: unit attention, then an MLP of ratio 4 with exact GELU, each with a residual.

    Args:
        dim: Channels C.
        heads: Attention heads.
        unit: Tokens of a unit along (D, H, W).
        dilated: False: local scope (LSM), units are bricks. True: global scope (GSM), units are dilated. Both have the
            same parameters.
        drop_path: Probability that a sample skips the attention, and that it skips the MLP, in training.
        checkpoint: Keep only the block's input for the backward pass and compute the rest again.
    """

    def __init__(self, dim: int, heads: int, unit: Sequence[int], *, dilated: bool, drop_path: float, checkpoint: bool):
        super().__init__()
        self.unit = tuple(unit)
        self.dilated = dilated
        self.drop_path = drop_path
        self.checkpoint = checkpoint
        self.norm1 = nn.LayerNorm(dim)
        self.attention = UnitAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map to map, ``(B, D, H, W, C)``; tokens that pad the last units are never attended to."""
        batch, channels = x.shape[0], x.shape[-1]
        partition = unit_partition(tuple(x.shape[1:4]), self.unit, dilated=self.dilated)
        units = partition.partition(x)
        real = partition.real_tokens(x.device)
        real = None if real is None else real.repeat(batch, 1)
        kept = self._kept(x, len(units) // batch)
        width = 4 * channels * partition.tokens
        return partition.restore(chunked(self._forward, units, real, kept, width=width, again=self.checkpoint))

    def _forward(self, units: Tensor, real: Tensor | None, kept: Tensor | None) -> Tensor:
        """The whole block on units ``(N, tokens, C)``: only attention mixes tokens, so every step can run on units."""
        attention, (widen, act, narrow) = self.attention, self.mlp
        # Norm and activation are cheap to compute, and their results large to keep.
        step = recomputed if frugal(units) and not self.checkpoint else _call
        change = attention(step(lambda u: attention.qkv(self.norm1(u)), units), real)
        units = units + (change if kept is None else change * kept[:, 0])
        change = step(lambda h: narrow(act(h)), step(lambda u: widen(self.norm2(u)), units))
        return units + (change if kept is None else change * kept[:, 1])

    def _kept(self, x: Tensor, units: int) -> Tensor | None:
        """Stochastic depth: a factor per sample for attention and for MLP, for each unit: ``(B * units, 2, 1, 1)``."""
        if not (self.training and self.drop_path):
            return None
        kept = x.new_empty(x.shape[0], 2, 1, 1).bernoulli_(1 - self.drop_path) / (1 - self.drop_path)
        return kept.repeat_interleave(units, dim=0)


class DFormerStage(nn.Module):
    """Dynamic position encoding once, then blocks that alternate local (even) and global scope (odd).

    Args:
        dim: Channels C.
        depth: Number of blocks.
        heads: Attention heads.
        unit: Tokens of a unit along (D, H, W).
        drop_path: One stochastic-depth rate per block.
        checkpoint: See :class:`DFormerBlock`.
    """

    def __init__(
        self, dim: int, depth: int, heads: int, unit: Sequence[int], *, drop_path: Sequence[float], checkpoint: bool
    ):
        super().__init__()
        self.position = DynamicPositionEncoding(dim)
        self.blocks = nn.Sequential(
            *(
                DFormerBlock(dim, heads, unit, dilated=i % 2 == 1, drop_path=drop_path[i], checkpoint=checkpoint)
                for i in range(depth)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map to map, ``(B, D, H, W, C)``."""
        return self.blocks(self.position(x))


def drop_path_rates(last: float, depths: Sequence[int]) -> list[tuple[float, ...]]:
    """Stochastic-depth rates per stage and block, rising linearly from 0 (first block) to ``last`` (last block).

    Raises:
        ConfigError: unless ``last`` is a probability below 1.
    """
    if not 0 <= last < 1:
        raise ConfigError(f"drop_path={last}: expected a probability from 0 up to, not including, 1")
    total = sum(depths)
    rates = [last * i / max(total - 1, 1) for i in range(total)]
    starts = [sum(depths[:i]) for i in range(len(depths))]
    return [tuple(rates[s : s + d]) for s, d in zip(starts, depths, strict=True)]


def _call(function, x: Tensor) -> Tensor:
    return function(x)
