"""Position encodings that need no table."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
