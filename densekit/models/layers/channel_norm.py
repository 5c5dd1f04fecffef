"""LayerNorm over the channels of a map."""

from __future__ import annotations

from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of ``(B, C, H, W)``, at each place by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Map to map, ``(B, C, H, W)``."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
