"""What every head for volumes does, and the head of networks that already end in logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from densekit.errors import ConfigError
from densekit.models.losses import DeepSupervisionLoss
from densekit.registry import MODELS


class VolumeHead(nn.Module):
    """Base of heads that turn a pyramid of 3D maps into logits per voxel.

    A subclass implements :meth:`logits` and sets the attributes.

    Args:
        num_classes: Number of classes K, background included.
        loss: Module or config, ``(list of logits fine to coarse, label) -> dict of scalars``. Default
            :class:`densekit.models.losses.DeepSupervisionLoss` around Dice + cross-entropy.

    Raises:
        ConfigError: for fewer than 2 classes.

    Attributes:
        num_classes: K.
        in_channels: Channels of the maps it takes, fine to coarse. More levels may be given; they are left alone.
        in_strides: Voxels per token (D, H, W) of each.
    """

    spatial_dims = 3
    in_channels: tuple[int, ...]
    in_strides: tuple[tuple[int, int, int], ...]

    def __init__(self, num_classes: int, loss: nn.Module | dict | None = None):
        super().__init__()
        if num_classes < 2:
            raise ConfigError(
                f"{type(self).__name__}.num_classes={num_classes}: expected at least 2, background included"
            )
        self.num_classes = num_classes
        self.loss_function = MODELS.build(loss) if isinstance(loss, dict) else loss or DeepSupervisionLoss()

    def logits(self, features: Sequence[Tensor], size: Sequence[int], *, supervise: bool) -> list[Tensor]:
        """Compute logits, fine to coarse.

        Args:
            features: Maps ``(B, C_i, D_i, H_i, W_i)``, fine to coarse.
            size: (D, H, W) of the volume before any padding; what stands beyond it is cropped.
            supervise: True: all outputs that a loss is put on. False: the full-resolution one only.

        Returns:
            ``[(B, K, D, H, W), ...]``.
        """
        raise NotImplementedError

    def forward(self, features: Sequence[Tensor], *, size: Sequence[int]) -> list[Tensor]:
        """Logits fine to coarse: while training one per supervised resolution, otherwise one."""
        return self.logits(features, size, supervise=self.training)

    def loss(self, features: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
        """Compute the training loss against a label map ``(B, D, H, W)``; the entries' sum is the loss."""
        return self.loss_function(self.logits(features, label.shape[1:], supervise=True), label)

    def predict(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Full-resolution logits ``(B, K, D, H, W)``."""
        return self.logits(features, size, supervise=False)[0]


@MODELS.register_module()
class LogitsHead(VolumeHead):
    """Head without parameters, for a network whose maps are logits already (:class:`MonaiNetwork`).

    Args:
        num_classes: Number of classes K, background included; the network's number of output channels.
        loss: See :class:`VolumeHead`.
    """

    def __init__(self, num_classes: int, *, loss: nn.Module | dict | None = None):
        super().__init__(num_classes, loss)
        self.in_channels = (num_classes,)
        self.in_strides = ((1, 1, 1),)

    def logits(self, features: Sequence[Tensor], size: Sequence[int], *, supervise: bool) -> list[Tensor]:
        return [crop(f, size) for f in (features if supervise else features[:1])]


def crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """Keep the first ``size`` (D, H, W) voxels of ``(B, C, D', H', W')``."""
    depth, height, width = size
    return x[:, :, :depth, :height, :width]
