"""CARAFE through mmcv.ops, against its definition."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import CARAFE, CARAFENaive, CARAFEPack, carafe


def carafe_by_definition(features, masks, kernel_size, group_size, scale_factor) -> torch.Tensor:
    batch, channels, height, width = features.shape
    padded = F.pad(features, [kernel_size // 2] * 4)
    output = features.new_zeros(batch, channels, height * scale_factor, width * scale_factor)
    for c in range(channels):
        group = c // (channels // group_size)
        kernels = masks.view(batch, group_size, kernel_size, kernel_size, *masks.shape[-2:])[:, group]
        for i in range(height * scale_factor):
            for j in range(width * scale_factor):
                row, column = i // scale_factor, j // scale_factor
                window = padded[:, c, row : row + kernel_size, column : column + kernel_size]
                output[:, c, i, j] = (window * kernels[..., i, j]).sum((1, 2))
    return output


@pytest.mark.parametrize("layer", [CARAFE, CARAFENaive])
@pytest.mark.parametrize(("kernel_size", "group_size", "scale_factor"), [(3, 2, 2), (5, 1, 3), (1, 1, 1)])
def test_carafe_equals_its_definition(layer, kernel_size, group_size, scale_factor, device):
    torch.manual_seed(0)
    features = torch.randn(2, 4, 3, 4)
    masks = torch.randn(2, group_size * kernel_size**2, 3 * scale_factor, 4 * scale_factor)
    output = layer(kernel_size, group_size, scale_factor)(features.to(device), masks.to(device)).cpu()
    torch.testing.assert_close(output, carafe_by_definition(features, masks, kernel_size, group_size, scale_factor))


def test_carafe_with_its_weight_in_the_middle_repeats_pixels():
    features, masks = torch.arange(6.0).view(1, 1, 2, 3), torch.zeros(1, 9, 4, 6)
    masks[:, 4] = 1
    torch.testing.assert_close(carafe(features, masks, 3, 1, 2), F.interpolate(features, scale_factor=2))


def test_carafe_gradient():
    torch.manual_seed(0)
    features = torch.randn(1, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    masks = torch.randn(1, 18, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, m: carafe(f, m, 3, 2, 2), (features, masks))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_carafe_under_autocast(dtype, device):
    torch.manual_seed(0)
    module, x = CARAFEPack(8, 2, compressed_channels=4).to(device), torch.randn(1, 8, 4, 4, device=device)
    exact = module(x)
    with torch.autocast(device, dtype):
        output = module(x)
    torch.testing.assert_close(output.float(), exact, atol=0.05, rtol=0.05)
    output.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())
