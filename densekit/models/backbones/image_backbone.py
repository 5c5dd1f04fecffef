"""What the image backbones written here share: stages, which maps are given, frozen stages, files of weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from densekit.errors import CheckpointError, ConfigError
from densekit.models.contract import per_axis
from densekit.models.layers.channel_norm import ChannelNorm
from densekit.models.layers.patch import pad_to_multiple

logger = logging.getLogger("densekit")

OUT_NORMS = {
    "ln": lambda channels: ChannelNorm(channels, eps=1e-6),
    "gn": lambda channels: nn.GroupNorm(1, channels),
    "bn": nn.BatchNorm2d,
    None: lambda _channels: nn.Identity(),
}


class ImageBackbone(nn.Module):
    """Stages one after the other, each a downsampling and what works at that resolution.

    Stages beyond the last map that is given are not built.

    Args:
        downsamplings: One per stage: of the image, or of the map of the stage before.
        stages: What follows each.
        widths: Channels of each stage's map.
        strides: Pixels of the image per pixel of each stage's map.
        in_channels: Channels of the image.
        out_indices: The stages whose maps are given, counted from 0, the finest.
        out_norm: Norm of each map that is given: ``"ln"`` (LayerNorm over its channels), ``"gn"`` (GroupNorm of one
            group), ``"bn"`` (BatchNorm) or None. Dense recipes put one there, and train it from scratch.
        frozen_stages: 0: the first downsampling does not learn; k: nor do the first k stages, whose batch norms keep
            their statistics; -1: all learn.
        pretrained: File of weights, by the names of the official code or by ours, read by :meth:`init_weights`.

    Raises:
        ConfigError: for a stage or norm that does not exist.

    Attributes:
        out_channels: Channels of the maps, fine to coarse.
        out_strides: Their strides.
        size_multiple: To which images are padded, with zeros on the right and below, which are cut off the maps; None:
            they are taken as they are.
    """

    spatial_dims = 2
    size_multiple: int | None = None

    def __init__(
        self,
        downsamplings: Sequence[nn.Module],
        stages: Sequence[nn.Module],
        *,
        widths: Sequence[int],
        strides: Sequence[int] = (4, 8, 16, 32),
        in_channels: int,
        out_indices: Sequence[int],
        out_norm: str | None,
        frozen_stages: int,
        pretrained: str | None,
    ):
        super().__init__()
        name, count = type(self).__name__, len(stages)
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(range(count))):
            raise ConfigError(
                f"{name}: out_indices={out_indices!r}: expected some of {(*range(count),)}, in this order"
            )
        if out_norm not in OUT_NORMS:
            raise ConfigError(f"{name}: out_norm={out_norm!r}: expected one of {', '.join(map(repr, OUT_NORMS))}")
        if not -1 <= frozen_stages <= count:
            raise ConfigError(f"{name}: frozen_stages={frozen_stages!r}: expected a number from -1 to {count}")
        self.in_channels, self.out_indices = in_channels, tuple(out_indices)
        self.frozen_stages, self.pretrained = frozen_stages, pretrained
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.out_strides = tuple(strides[i] for i in out_indices)
        self.downsamplings = nn.ModuleList(downsamplings[: out_indices[-1] + 1])
        self.stages = nn.ModuleList(stages[: out_indices[-1] + 1])
        self.out_norms = nn.ModuleDict({str(i): OUT_NORMS[out_norm](widths[i]) for i in out_indices})
        for part in self._frozen():
            part.requires_grad_(False)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, C, H, W)`` to maps ``(B, C_i, H_i, W_i)``, fine to coarse; sides are rounded up."""
        size, maps = x.shape[2:], []
        x = pad_to_multiple(x, per_axis(self.size_multiple or 1, 2))
        for i, (downsampling, stage) in enumerate(zip(self.downsamplings, self.stages, strict=True)):
            x = stage(downsampling(x))
            if i in self.out_indices:
                maps.append(self.out_norms[str(i)](x))
        sides = ([-(-side // stride) for side in size] for stride in self.out_strides)
        return tuple(m[:, :, :height, :width] for m, (height, width) in zip(maps, sides, strict=True))

    def train(self, mode: bool = True) -> ImageBackbone:
        """Set the mode; what is frozen stays in eval mode."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        last = self.frozen_stages
        return [*self.downsamplings[: max(last, 1)], *self.stages[:last]]

    @staticmethod
    def rename_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights with the official code's names, to weights with ours; other names stay as they are."""
        return dict(weights)

    def init_weights(self) -> None:
        """Load the weights of ``pretrained``, if a file is named.

        Raises:
            CheckpointError: if it is not there, or of another network.
        """
        if self.pretrained is None:
            return
        from timm.models import load_state_dict

        if not Path(self.pretrained).is_file():
            raise CheckpointError(f"{type(self).__name__}: pretrained={self.pretrained!r}: no such weights file")
        own = self.state_dict()
        given = fold_channels(self.rename_official(load_state_dict(self.pretrained, weights_only=True)), own)
        fitting = {key: given[key] for key, value in own.items() if key in given and given[key].shape == value.shape}
        if 2 * len(fitting) < len(own):
            raise CheckpointError(
                f"{type(self).__name__}: {self.pretrained} holds {len(fitting)} of the {len(own)} tensors of this "
                f"network, so it is of another; give the file of this one"
            )
        self.load_state_dict(fitting, strict=False)
        logger.info("%s: %d of %d tensors from %s", type(self).__name__, len(fitting), len(own), self.pretrained)


def fold_channels(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network of RGB images, for the one of images of other channels whose tensors are ``own``.

    As in timm, the first convolution's are summed for one channel, or repeated and scaled down for several.
    """
    from timm.models import adapt_input_conv

    folded = dict(weights)
    for key, value in weights.items():
        wanted = own[key].shape if key in own else ()
        if len(wanted) == value.ndim == 4 and value.shape[1] == 3 and value[:, :1].shape == (wanted[0], 1, *wanted[2:]):
            folded[key] = adapt_input_conv(wanted[1], value)
    return folded
