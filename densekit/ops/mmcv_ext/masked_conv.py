"""Convolution at chosen pixels of one image, in inference (guided anchoring, Wang et al. 2019, arXiv:1901.03278)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def masked_im2col_forward(
    im: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, col: Tensor,
    kernel_h: int, kernel_w: int, pad_h: int, pad_w: int,
) -> None:  # fmt: skip
    """Writes the windows around the chosen pixels.

    Args:
        im: ``(1, C, H, W)``.
        mask_h_idx: ``(M,)`` rows of the output.
        mask_w_idx: ``(M,)`` columns of the output.
        col: ``(C * kernel_h * kernel_w, M)``, written.
    """
    width = im.shape[-1] + 2 * pad_w - kernel_w + 1
    windows = F.unfold(im, (kernel_h, kernel_w), padding=(pad_h, pad_w))[0]
    col.copy_(windows[:, mask_h_idx * width + mask_w_idx])


def masked_col2im_forward(
    col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int, channels: int
) -> None:
    """Writes the results ``col`` ``(C, M)`` to their pixels in ``im`` ``(1, C, H, W)``."""
    im[0, :, mask_h_idx, mask_w_idx] = col.to(im.dtype)
