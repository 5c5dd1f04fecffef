"""The convolution of SEPC (arXiv 2005.03101): one kernel for all levels, deformable on the coarser ones."""

from __future__ import annotations

from torch import Tensor, nn

from densekit.ops.mmcv_ext.deform_conv import deform_conv2d

SIDE = 3
TAPS = SIDE * SIDE


class SEPCConv(nn.Conv2d):
    """A 3x3 convolution that is ordinary where it feeds a fine level and deformable where it feeds a coarse one.

    A pyramid of a CNN blurs more from level to level than a Gaussian pyramid does; the offsets make up for it. Version
    1 of deformable convolution, without modulation; offsets are predicted from the map the kernel itself reads, and all
    deformed levels share one offset convolution.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of the result.
        stride: Step in pixels.
        padding: Zeros around the map.
        deform: False: an ordinary convolution on every level.
        start_level: First level (0 is the finest) that is deformed.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        padding: int = 1,
        deform: bool = False,
        start_level: int = 1,
    ):
        super().__init__(in_channels, out_channels, SIDE, stride=stride, padding=padding)
        self.start_level = start_level
        self.conv_offset = nn.Conv2d(in_channels, 2 * TAPS, SIDE, stride=stride, padding=padding) if deform else None
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)
        if deform:
            nn.init.zeros_(self.conv_offset.weight)
            nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Convolve ``x`` ``(B, C, H, W)`` to feed ``level``, the level of the result, which need not be that of ``x``.

        Returns:
            ``(B, C_out, H', W')``.
        """
        if self.conv_offset is None or level < self.start_level:
            return super().forward(x)
        offset = self.conv_offset(x)
        y = deform_conv2d(x, offset, self.weight, self.stride, self.padding)
        return y + self.bias.to(y.dtype)[:, None, None]
