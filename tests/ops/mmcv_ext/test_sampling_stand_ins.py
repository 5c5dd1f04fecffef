"""Deformable attention, point sampling, CARAFE and masked convolution through mmcv.ops, against their definitions."""

import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import (
    CARAFE,
    CARAFENaive,
    CARAFEPack,
    CornerPool,
    CrissCrossAttention,
    MaskedConv2d,
    MultiScaleDeformableAttention,
    SimpleRoIAlign,
    carafe,
    point_sample,
    rel_roi_point_to_rel_img_point,
)

MSDA = sys.modules["mmcv.ops.multi_scale_deform_attn"]
SHAPES = torch.tensor([[4, 6], [2, 3]])
STARTS = torch.tensor([0, 24])


def by_function(value, shapes, locations, weights):
    return MSDA.multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)


def by_mmcvs_function(value, shapes, locations, weights):
    """mmcv's autograd function, written for the compiled operator."""
    return MSDA.MultiScaleDeformableAttnFunction.apply(value, shapes, STARTS, locations, weights, 64)


ROUTES = [by_function, by_mmcvs_function]


def attention(dtype=torch.float64, device="cpu"):
    """Value, locations (some outside the levels) and weights: 2 images, 3 queries, 2 heads of 3 channels, 2 points."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 30, 2, 3, generator=generator, dtype=dtype)
    locations = torch.rand(2, 3, 2, 2, 2, 2, generator=generator, dtype=dtype) * 1.2 - 0.1
    weights = torch.randn(2, 3, 2, 4, generator=generator, dtype=dtype).softmax(-1).view(2, 3, 2, 2, 2)
    return [t.to(device) for t in (value, locations, weights)]


def by_definition(value, shapes, locations, weights) -> torch.Tensor:
    """Sample by sample: bilinear between the centres of pixels, zeros outside."""
    batch, _, heads, channels = value.shape
    _, queries, _, levels, points, _ = locations.shape
    output = torch.zeros(batch, queries, heads, channels, dtype=value.dtype)
    for b, q, h, level, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, levels, points))).tolist():
        height, width = shapes[level].tolist()
        x, y = (locations[b, q, h, level, p] * torch.tensor([width, height]) - 0.5).tolist()
        for row in (int(y // 1), int(y // 1) + 1):
            for column in (int(x // 1), int(x // 1) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, h, level, p]
                    output[b, q, h] += share * value[b, int(STARTS[level]) + row * width + column, h]
    return output.flatten(2)


@pytest.mark.parametrize("route", ROUTES)
def test_attention_equals_its_definition(route, device):
    value, locations, weights = attention()
    output = route(value.to(device), SHAPES.to(device), locations.to(device), weights.to(device))
    torch.testing.assert_close(output.cpu(), by_definition(value, SHAPES, locations, weights))


@pytest.mark.parametrize("route", ROUTES)
def test_attention_picks_the_pixel_it_points_at(route):
    value = torch.arange(30.0).view(1, 30, 1, 1)
    locations = torch.tensor([[(4 + 0.5) / 6, (1 + 0.5) / 4], [(2 + 0.5) / 3, 0.25]]).view(1, 1, 1, 2, 1, 2)
    output = route(value, SHAPES, locations, torch.tensor([1.0, 100.0]).view(1, 1, 1, 2, 1))
    assert output.item() == pytest.approx((1 * 6 + 4) + 100 * (24 + 2))


@pytest.mark.parametrize("route", ROUTES)
def test_attention_gradient(route):
    value, locations, weights = (t.requires_grad_() for t in attention())
    assert torch.autograd.gradcheck(lambda v, p, w: route(v, SHAPES, p, w), (value, locations, weights))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_module_under_autocast_says_nothing(dtype, device):
    torch.manual_seed(0)
    module = MultiScaleDeformableAttention(16, num_heads=2, num_levels=2, batch_first=True, dropout=0.0).to(device)
    torch.nn.init.normal_(module.sampling_offsets.weight, std=0.2)
    arguments = {
        "query": torch.randn(2, 5, 16, device=device),
        "value": torch.randn(2, 30, 16, device=device),
        "reference_points": torch.rand(2, 5, 2, 2, device=device),
        "spatial_shapes": SHAPES.to(device),
        "level_start_index": STARTS.to(device),
    }
    exact = module(**arguments)
    with torch.autocast(device, dtype), warnings.catch_warnings():
        warnings.simplefilter("error")
        output = module(**arguments)
    torch.testing.assert_close(output.float(), exact, atol=0.1, rtol=0.05)
    output.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_attention_in_16_bits_keeps_the_digits_of_the_locations():
    value = torch.where(torch.arange(512) >= 300, 1.0, 0.0).view(1, 512, 1, 1).to(torch.bfloat16)
    for pixel, expected in ((299, 0.0), (300, 1.0)):
        locations = torch.tensor([(pixel + 0.5) / 512, 0.5]).view(1, 1, 1, 1, 1, 2)
        output = by_function(value, torch.tensor([[1, 512]]), locations, torch.ones(1, 1, 1, 1, 1))
        assert output.dtype == torch.bfloat16 and output.item() == pytest.approx(expected, abs=1e-2)


def test_point_sampling_is_there_and_right():
    y, x = torch.meshgrid(torch.arange(4) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    ramp = torch.stack([x, y])[None]
    points = torch.tensor([[[0.25, 0.5], [0.5, 0.25]]])
    torch.testing.assert_close(point_sample(ramp, points), torch.tensor([[[2.0, 4.0], [2.0, 1.0]]]))
    rois = torch.tensor([[0, 2.0, 1.0, 6.0, 3.0]])
    relative = rel_roi_point_to_rel_img_point(rois, torch.tensor([[[0.5, 0.5]]]), (4, 8))
    torch.testing.assert_close(relative, torch.tensor([[[0.5, 0.5]]]))
    torch.testing.assert_close(SimpleRoIAlign((1, 1), 1.0)(ramp, rois).flatten(), torch.tensor([4.0, 2.0]))


def test_what_is_plain_torch_in_mmcv_works():
    x = torch.tensor([[[[1.0, 3.0, 2.0]]]])
    assert CornerPool("left")(x).flatten().tolist() == [3.0, 3.0, 2.0]
    assert CrissCrossAttention(8)(torch.randn(1, 8, 3, 4)).shape == (1, 8, 3, 4)


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


def test_masked_convolution_is_the_convolution_at_the_chosen_pixels(device):
    torch.manual_seed(0)
    layer, x = MaskedConv2d(3, 5, 3, padding=1).to(device), torch.randn(1, 3, 6, 7, device=device)
    mask = (torch.rand(1, 6, 7, device=device) > 0.6).float()
    with torch.no_grad():
        torch.testing.assert_close(layer(x, mask), layer(x) * mask)
        assert layer(x, torch.zeros_like(mask)).abs().max() == 0
