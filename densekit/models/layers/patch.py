"""Patch embedding, merging and expanding: how a hierarchical 3D transformer changes resolution.

Maps are channel-last, ``(B, D, H, W, C)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


def pad_to_multiple(x: Tensor, multiple: Sequence[int]) -> Tensor:
    """Pad ``(B, C, D, H, W)`` or ``(B, C, H, W)`` with zeros at the end of its axes to a multiple, one for each."""
    after = [-size % m for size, m in zip(x.shape[2:], multiple, strict=True)]
    return F.pad(x, [side for size in reversed(after) for side in (0, size)]) if any(after) else x


def pyramid_strides(patch: Sequence[int], levels: int) -> tuple[tuple[int, int, int], ...]:
    """Strides (D, H, W) of a pyramid that starts at ``patch`` and halves all three axes from level to level."""
    return tuple(tuple(p * 2**level for p in patch) for level in range(levels))


def gather_patches(x: Tensor, patch: Sequence[int]) -> Tensor:
    """``(B, D, H, W, C)`` to ``(B, D/p, H/p, W/p, p_d*p_h*p_w*C)``; in a patch D varies slowest, then H, W, channel."""
    batch, depth, height, width, channels = x.shape
    pd, ph, pw = patch
    x = x.view(batch, depth // pd, pd, height // ph, ph, width // pw, pw, channels)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, depth // pd, height // ph, width // pw, -1)


def scatter_patches(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Inverse of :func:`gather_patches`: ``(B, D, H, W, p_d*p_h*p_w*C)`` to ``(B, D*p, H*p, W*p, C)``."""
    batch, depth, height, width, _ = x.shape
    pd, ph, pw = patch
    x = x.reshape(batch, depth, height, width, pd, ph, pw, -1)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, depth * pd, height * ph, width * pw, -1)


class PatchEmbedding(nn.Module):
    """Cut a volume into patches and embed each: strided convolution, then LayerNorm."""

    def __init__(self, in_channels: int, dim: int, patch: Sequence[int]):
        super().__init__()
        self.proj = nn.Conv3d(in_channels, dim, kernel_size=tuple(patch), stride=tuple(patch))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, D, H, W)``, a multiple of the patch, to ``(B, D/p, H/p, W/p, dim)``."""
        return self.norm(self.proj(x).permute(0, 2, 3, 4, 1))


class PatchMerging(nn.Module):
    """Halve all three axes and widen: the 2x2x2 neighbours side by side (8C), LayerNorm, linear, no bias."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(8 * dim)
        self.linear = nn.Linear(8 * dim, out_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D, H, W, C)`` with even D, H, W to ``(B, D/2, H/2, W/2, out_dim)``."""
        return self.linear(self.norm(gather_patches(x, (2, 2, 2))))


class PatchExpanding(nn.Module):
    """Double all three axes: linear without bias, scatter to the 2x2x2 neighbours, LayerNorm."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, 8 * out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D, H, W, C)`` to ``(B, 2D, 2H, 2W, out_dim)``."""
        return self.norm(scatter_patches(self.linear(x), (2, 2, 2)))
