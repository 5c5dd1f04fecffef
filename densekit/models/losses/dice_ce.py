"""Cross-entropy plus soft Dice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.errors import ConfigError
from densekit.registry import MODELS


@MODELS.register_module()
class DiceCELoss(nn.Module):
    """Cross-entropy plus soft Dice, weight 1 each: the loss of nnU-Net and nnFormer.

    The Dice part is ``1 - mean((2*TP + s) / (2*TP + FP + FN + s))`` over all classes but the background. The sum equals
    MONAI's ``DiceCELoss(include_background=False, softmax=True)``. Unlike that one it gives its parts separately,
    computes in fp32 also under autocast, takes labels of any integer type, and uses only operations that are
    deterministic on a GPU, which PyTorch's cross-entropy of volumes is not.

    Args:
        batch_dice: Pool the voxels of a batch before the ratio (the recipe for Synapse) instead of averaging over its
            samples (ACDC).
        smooth: The s above.
    """

    def __init__(self, *, batch_dice: bool = False, smooth: float = 1e-5):
        super().__init__()
        self.batch_dice = batch_dice
        self.smooth = smooth

    def forward(self, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Compute both parts.

        Args:
            logits: ``(B, K, D, H, W)``, of any floating dtype.
            label: Class indices ``(B, D, H, W)``, of any integer dtype.

        Returns:
            ``{"loss_ce": scalar, "loss_dice": scalar}``; the loss is their sum.

        Raises:
            ConfigError: for a label value outside the K classes.
        """
        self._check_label(logits, label)
        with torch.autocast(logits.device.type, enabled=False):
            log_probabilities = F.log_softmax(logits.float(), dim=1)
            classes = torch.arange(logits.shape[1], device=label.device).view(1, -1, *[1] * (label.ndim - 1))
            is_class = label[:, None] == classes
            # `where` keeps the boolean mask for the backward pass; a product would keep a second map of all classes.
            ce = -torch.where(is_class, log_probabilities, 0).sum() / label.numel()
            return {"loss_ce": ce, "loss_dice": self._dice(log_probabilities.exp(), is_class)}

    def _dice(self, probabilities: Tensor, is_class: Tensor) -> Tensor:
        axes = tuple(range(2, is_class.ndim))
        overlap = torch.where(is_class, probabilities, 0).sum(axes)
        total = probabilities.sum(axes) + is_class.sum(axes)
        if self.batch_dice:
            overlap, total = overlap.sum(0), total.sum(0)
        dice = (2 * overlap + self.smooth) / (total + self.smooth)
        return 1 - dice[..., 1:].mean()

    @staticmethod
    def _check_label(logits: Tensor, label: Tensor) -> None:
        classes = logits.shape[1]
        lowest, highest = (int(value) for value in label.aminmax())
        if lowest < 0 or highest >= classes:
            wrong = highest if lowest >= 0 else lowest
            raise ConfigError(
                f"the label map holds class {wrong}, but the head has num_classes={classes}; "
                f"set num_classes to the number of labels of the data set, background included"
            )
