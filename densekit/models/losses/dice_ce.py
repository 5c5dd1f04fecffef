"""Cross-entropy plus soft Dice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.errors import ConfigError
from densekit.ops.unlabelled import UNLABELLED
from densekit.registry import MODELS


@MODELS.register_module()
class DiceCELoss(nn.Module):
    """Cross-entropy plus soft Dice, weight 1 each: the loss of nnU-Net and nnFormer.

    The Dice part is ``1 - mean((2*TP + s) / (2*TP + FP + FN + s))`` over all classes but the background. The sum equals
    MONAI's ``DiceCELoss(include_background=False, softmax=True)``. Unlike that one it gives its parts separately,
    computes in fp32 also under autocast, takes labels of any integer type, and uses only operations that are
    deterministic on a GPU, which PyTorch's cross-entropy of volumes is not.

    Voxels without label (:data:`~densekit.ops.unlabelled.UNLABELLED`) are left out of both parts; samples without any
    labelled voxel are left out of the average over samples. A batch without any costs 0 and has a gradient of 0.

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
            label: Class indices or ``UNLABELLED``, ``(B, D, H, W)``, of any integer dtype.

        Returns:
            ``{"loss_ce": scalar, "loss_dice": scalar}``; the loss is their sum.

        Raises:
            ConfigError: for a label value outside the K classes.
        """
        labelled = self._labelled(logits, label)
        with torch.autocast(logits.device.type, enabled=False):
            log_probabilities = F.log_softmax(logits.float(), dim=1)
            classes = torch.arange(logits.shape[1], device=label.device).view(1, -1, *[1] * (label.ndim - 1))
            is_class = label[:, None] == classes
            # `where` keeps the boolean mask for the backward pass; a product would keep a second map of all classes.
            count = label.numel() if labelled is None else labelled.sum().clamp(min=1)
            ce = -torch.where(is_class, log_probabilities, 0).sum() / count
            return {"loss_ce": ce, "loss_dice": self._dice(log_probabilities.exp(), is_class, labelled)}

    def _dice(self, probabilities: Tensor, is_class: Tensor, labelled: Tensor | None) -> Tensor:
        axes = tuple(range(2, is_class.ndim))
        if labelled is not None:
            probabilities = torch.where(labelled[:, None], probabilities, 0)
        overlap = torch.where(is_class, probabilities, 0).sum(axes)
        total = probabilities.sum(axes) + is_class.sum(axes)
        if labelled is not None:
            has_label = labelled.flatten(1).any(1)
            if not has_label.any():
                return overlap.sum()  # 0, with the gradient 0
            overlap, total = overlap[has_label], total[has_label]
        if self.batch_dice:
            overlap, total = overlap.sum(0), total.sum(0)
        dice = (2 * overlap + self.smooth) / (total + self.smooth)
        return 1 - dice[..., 1:].mean()

    @staticmethod
    def _labelled(logits: Tensor, label: Tensor) -> Tensor | None:
        """Return where the label map is labelled, None for everywhere; refuses values outside the classes."""
        classes, labelled = logits.shape[1], None
        lowest, highest = (int(value) for value in label.aminmax())
        if highest == UNLABELLED >= classes:
            labelled = label != UNLABELLED
            known = torch.where(labelled, label, 0)
            lowest, highest = (int(value) for value in known.aminmax())
        if lowest < 0 or highest >= classes:
            wrong = highest if lowest >= 0 else lowest
            raise ConfigError(
                f"the label map holds class {wrong}, but the head has num_classes={classes}; "
                f"set num_classes to the number of labels of the data set, background included"
            )
        return labelled
