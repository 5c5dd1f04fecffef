"""What decoders of four-level pyramids share: a linear layer per pixel, and which maps they take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from densekit.errors import ConfigError

STRIDES = (4, 8, 16, 32)
"""Of the four maps, in pixels of the image: what backbones of images usually give."""
BATCH_NORM = {"type": "BN", "requires_grad": True}
"""Published over all processes; a run of several makes it so (``sync_bn`` of MMEngine)."""
TAKES = "four maps, each of half the size of the one before, such as those of strides 4, 8, 16 and 32"


def is_narrow(in_channels: Sequence[int]) -> bool:
    """Whether an encoder is as narrow as MiT-B0, for which published decoders are narrower than for others."""
    return in_channels[-1] <= 256


class PixelLinear(nn.Linear):
    """A linear layer over the channels of each pixel; its weight ``(out, in)`` is kept as that of ``nn.Linear``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, H, W)``."""
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)


def check_four(part: str, in_channels: Sequence[int], in_index: Sequence[int]) -> None:
    """Raise ConfigError unless a decoder is set to take four maps."""
    for name, value in (("in_channels", in_channels), ("in_index", in_index)):
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
            raise ConfigError(
                f"{part}.{name}={value!r}: {part} takes {TAKES}; give a list of four, or take FCNHead, which takes one "
                "map"
            )


def take_four(part: str, maps: Sequence[Tensor], in_index: Sequence[int]) -> list[Tensor]:
    """The four maps ``(B, C_l, H_l, W_l)`` of a decoder, fine to coarse, picked from all there are.

    Raises:
        ConfigError: if there are fewer maps, or their sizes do not halve; a border of one pixel is let pass.
    """
    if max(in_index) >= len(maps):
        raise ConfigError(
            f"{part}: it takes the maps {tuple(in_index)} of what stands before it, which gives {len(maps)}; {part} "
            f"takes {TAKES}; choose a backbone that gives four maps, or FCNHead, which takes one"
        )
    taken = [maps[index] for index in in_index]
    sizes = [tuple(x.shape[2:]) for x in taken]
    for fine, coarse in pairwise(sizes):
        if any(abs(2 * c - f) > 1 for c, f in zip(coarse, fine, strict=True)):
            raise ConfigError(
                f"{part}: the maps it is given are of sizes {', '.join(map(str, sizes))}, but {part} takes {TAKES}; "
                "choose a backbone whose strides double, without dilation (output_stride), or set in_index"
            )
    return taken
