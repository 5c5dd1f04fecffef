"""Deformable attention through mmcv.ops, against its definition."""

import sys
import warnings

import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention

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
