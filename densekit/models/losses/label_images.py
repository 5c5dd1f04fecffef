"""Losses of label images in the form that MMSegmentation's heads call: soft Dice, focal, the distance to borders.

MMSegmentation's own Dice counts what is predicted at pixels without a class as wrong; here they are left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from densekit.registry import MODELS
from densekit.structures.label_images import IGNORED


class _LabelImageLoss(nn.Module, ABC):
    """A loss of logits and label images, with the name under which it is logged.

    Args:
        loss_weight: Factor.
        loss_name: Its name in the log.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss"):
        super().__init__()
        self.loss_weight, self.loss_name = loss_weight, loss_name

    def forward(
        self, logits: Tensor, labels: Tensor, weight: Any = None, ignore_index: int = IGNORED, **_others: Any
    ) -> Tensor:
        """Compute it.

        Args:
            logits: ``(B, K, H, W)``.
            labels: ``(B, H, W)``, classes or ``ignore_index``.
            weight: Weights of pixels, which only cross-entropy knows; not used.
            ignore_index: Label of pixels that are left out.

        Returns:
            A scalar; 0 with a gradient of 0 if no pixel has a class.
        """
        del weight
        with torch.autocast(logits.device.type, enabled=False):
            return self.loss_weight * self._loss(logits.float().softmax(1), labels, labels != ignore_index)

    @abstractmethod
    def _loss(self, probabilities: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """The loss of probabilities ``(B, K, H, W)``, where there are classes."""


@MODELS.register_module()
class SoftDiceLoss(_LabelImageLoss):
    """``1 - mean over classes of (2 * overlap + s) / (sum + s)``, pooled over the batch, of classes that it holds.

    Milletari et al. 2016, arXiv 1606.04797, with linear sums; absent classes say nothing of a crop.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss_dice", smooth: float = 1.0):
        super().__init__(loss_weight, loss_name)
        self.smooth = smooth

    def _loss(self, probabilities: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        classes = torch.arange(probabilities.shape[1], device=labels.device).view(1, -1, 1, 1)
        is_class = (labels[:, None] == classes) & known[:, None]
        kept = torch.where(known[:, None], probabilities, 0)
        axes = (0, 2, 3)
        overlap, total = torch.where(is_class, kept, 0).sum(axes), kept.sum(axes) + is_class.sum(axes)
        present = is_class.any(3).any(2).any(0)
        if not present.any():
            return overlap.sum()
        return 1 - ((2 * overlap + self.smooth) / (total + self.smooth))[present].mean()


@MODELS.register_module()
class PixelFocalLoss(_LabelImageLoss):
    """``-(1 - p) ** gamma * log p`` of each pixel's class, the mean over pixels that have one.

    The focal loss of Lin et al. 2017 (arXiv 1708.02002) with a softmax over the classes, without class weights.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss_focal", gamma: float = 2.0):
        super().__init__(loss_weight, loss_name)
        self.gamma = gamma

    def _loss(self, probabilities: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        chosen = torch.where(known, labels, 0).long()[:, None]
        p = probabilities.gather(1, chosen)[:, 0].clamp(min=torch.finfo(probabilities.dtype).tiny)
        return (torch.where(known, -((1 - p) ** self.gamma) * p.log(), 0)).sum() / known.sum().clamp(min=1)


@MODELS.register_module()
class BorderDistanceLoss(_LabelImageLoss):
    """The boundary loss of Kervadec et al. 2019 (arXiv 1812.07032): probability times signed distance to the border.

    The distance of a pixel to the border of a class is negative inside, in units of the longer side of the image, so
    that the loss does not grow with the crop. It is meant beside a regional loss, with a small weight.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss_boundary"):
        super().__init__(loss_weight, loss_name)

    def _loss(self, probabilities: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        total, number = probabilities.sum() * 0, known.sum()
        if not number:
            return total
        for image, of_image, here in zip(probabilities, labels, known, strict=True):
            for label in of_image[here].unique():
                distance = torch.from_numpy(signed_distance((of_image == label).cpu().numpy()))
                total = total + (image[label] * distance.to(image))[here].sum()
        return total / number


def signed_distance(inside: np.ndarray) -> np.ndarray:
    """Distance to the border of a region in units of the longer side: negative inside, 0 without a border.

    Args:
        inside: ``(H, W)`` bool.
    """
    if inside.all() or not inside.any():
        return np.zeros(inside.shape, dtype=np.float32)
    distance = distance_transform_edt(~inside) - np.maximum(distance_transform_edt(inside) - 1, 0)
    return (distance / max(inside.shape)).astype(np.float32)
