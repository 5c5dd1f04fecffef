"""Masked convolution through mmcv.ops."""

import torch
from mmcv.ops import MaskedConv2d


def test_masked_convolution_is_the_convolution_at_the_chosen_pixels(device):
    torch.manual_seed(0)
    layer, x = MaskedConv2d(3, 5, 3, padding=1).to(device), torch.randn(1, 3, 6, 7, device=device)
    mask = (torch.rand(1, 6, 7, device=device) > 0.6).float()
    with torch.no_grad():
        torch.testing.assert_close(layer(x, mask), layer(x) * mask)
        assert layer(x, torch.zeros_like(mask)).abs().max() == 0
