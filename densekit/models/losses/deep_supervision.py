"""One loss over the outputs of several resolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from densekit.models.losses.dice_ce import DiceCELoss
from densekit.registry import MODELS


@MODELS.register_module()
class DeepSupervisionLoss(nn.Module):
    """Apply a loss to every output and average with weights 1, 1/2, 1/4 ..., normalised to sum 1 (4/7, 2/7, 1/7 for
    three).

    One output has weight 1, so this is also the ordinary loss of a network without deep supervision.

    Args:
        loss: The loss of one output, a module or its config: ``(logits, label) -> dict of scalars``. Default
            :class:`DiceCELoss`.
    """

    def __init__(self, loss: nn.Module | dict | None = None):
        super().__init__()
        self.loss = MODELS.build(loss) if isinstance(loss, dict) else loss or DiceCELoss()

    def forward(self, outputs: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
        """Compute the weighted mean.

        Args:
            outputs: Logits ``(B, K, D_i, H_i, W_i)``, fine to coarse.
            label: Class indices or ``UNLABELLED``, ``(B, D, H, W)``, at the resolution of the finest output.

        Returns:
            The entries of the inner loss, averaged.
        """
        weights = deep_supervision_weights(len(outputs))
        total: dict[str, Tensor] = {}
        for weight, logits in zip(weights, outputs, strict=True):
            for name, value in self.loss(logits, downsample_label(label, logits.shape[2:])).items():
                total[name] = total.get(name, 0) + weight * value
        return total


def deep_supervision_weights(outputs: int) -> list[float]:
    """Weights 1, 1/2, 1/4 ... of ``outputs`` outputs, fine to coarse, normalised to sum 1."""
    raw = [2.0**-level for level in range(outputs)]
    return [w / sum(raw) for w in raw]


def downsample_label(label: Tensor, size: Sequence[int]) -> Tensor:
    """Take every s-th voxel along each axis of a label map ``(B, D, H, W)``, s a power of 2, so that ``size`` remains.

    Raises:
        ValueError: if no such steps lead to ``size``.
    """
    for axis, wanted in enumerate(size, start=1):
        step = 1
        while -(-label.shape[axis] // step) > wanted:
            step *= 2
        label = label[(slice(None),) * axis + (slice(None, None, step),)]
    if tuple(label.shape[1:]) != tuple(size):
        found = tuple(label.shape[1:])
        raise ValueError(f"a label map cannot be thinned by powers of 2 to {tuple(size)}, only to {found}")
    return label
