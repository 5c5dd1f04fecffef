"""Deformable convolution through mmcv.ops: known answers, gradients by numeric differentiation, 16-bit types."""

import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2dPack,
    deform_conv2d,
    modulated_deform_conv2d,
)

from densekit.errors import ConfigError

# Along random directions: every entry of the matrix takes part, none has a difference of its own.
gradcheck = partial(torch.autograd.gradcheck, fast_mode=True)

# mmcv's own autograd functions, written for the compiled operators, and the differentiable functions in their place.
V1 = [deform_conv2d, sys.modules["mmcv.ops.deform_conv"].DeformConv2dFunction.apply]
V2 = [modulated_deform_conv2d, sys.modules["mmcv.ops.modulated_deform_conv"].ModulatedDeformConv2dFunction.apply]
# groups, deform_groups, stride, padding, dilation
SHAPES = [(1, 1, 1, 1, 1), (2, 4, 2, 1, 1), (1, 2, 1, 2, 2)]


def tensors(groups, deform_groups, stride, padding, dilation, dtype=torch.float64, height=5, width=4):
    """Input, offset, mask, weight, bias; the offsets keep clear of whole pixels, where the gradient has a jump."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.rand(shape, generator=generator, dtype=dtype)

    size = [(side + 2 * padding - 2 * dilation - 1) // stride + 1 for side in (height, width)]
    offset = torch.randint(-2, 2, (2, 18 * deform_groups, *size), generator=generator) + 0.2 + 0.6 * random(1)
    mask = random(2, 9 * deform_groups, *size)
    return [random(2, 4, height, width) - 0.5, offset.to(dtype), mask, random(4, 4 // groups, 3, 3) - 0.5, random(4)]


@pytest.mark.parametrize("route", V1)
@pytest.mark.parametrize("shape", SHAPES)
def test_without_offsets_it_is_a_convolution(route, shape, device):
    groups, deform_groups, stride, padding, dilation = shape
    x, offset, _, weight, _ = (t.to(device) for t in tensors(*shape, dtype=torch.float32))
    output = route(x, torch.zeros_like(offset), weight, stride, padding, dilation, groups, deform_groups)
    torch.testing.assert_close(output, F.conv2d(x, weight, None, stride, padding, dilation, groups))


@pytest.mark.parametrize("route", V1)
def test_offsets_are_dy_dx_in_pixels(route):
    x = torch.arange(30.0).view(1, 1, 5, 6)
    offset = torch.zeros(1, 2, 5, 6)
    offset[:, 0], offset[:, 1] = 1, -2  # one row down, two columns to the left
    moved = route(x, offset, torch.ones(1, 1, 1, 1))
    assert moved[0, 0, :4, 2:].tolist() == x[0, 0, 1:, :4].tolist()
    assert moved[0, 0, 4].abs().max() == moved[0, 0, :, :2].abs().max() == 0
    halfway = route(x, torch.full((1, 2, 5, 6), 0.5), torch.ones(1, 1, 1, 1))
    assert halfway[0, 0, 0, 0] == (0 + 1 + 6 + 7) / 4


@pytest.mark.parametrize("route", V2)
def test_mask_weighs_the_taps_and_bias_is_added(route, device):
    x, offset, mask, weight, bias = (t.to(device) for t in tensors(1, 1, 1, 1, 1, dtype=torch.float32))
    plain = deform_conv2d(x, offset, weight, 1, 1)
    ones = torch.ones_like(mask)
    torch.testing.assert_close(route(x, offset, ones, weight, None, 1, 1), plain)
    torch.testing.assert_close(route(x, offset, ones / 4, weight, bias, 1, 1), plain / 4 + bias[:, None, None])
    only_centre = torch.zeros_like(mask)
    only_centre[:, 4] = 1
    expected = deform_conv2d(x, offset[:, 8:10], weight[:, :, 1:2, 1:2])
    torch.testing.assert_close(route(x, offset, only_centre, weight, None, 1, 1), expected)


@pytest.mark.parametrize("route", V1)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient(route, shape):
    groups, deform_groups, stride, padding, dilation = shape
    x, offset, _, weight, _ = tensors(*shape, height=4, width=3)
    inputs = [t.requires_grad_() for t in (x, offset, weight)]
    assert gradcheck(lambda *t: route(*t, stride, padding, dilation, groups, deform_groups), inputs)


@pytest.mark.parametrize("route", V2)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_modulated_gradient(route, shape, with_bias):
    groups, deform_groups, *window = shape
    inputs = [t.requires_grad_() for t in tensors(*shape, height=4, width=3)]
    if with_bias:
        assert gradcheck(lambda *t: route(*t, *window, groups, deform_groups), inputs)
    else:
        assert gradcheck(lambda *t: route(*t, None, *window, groups, deform_groups), inputs[:4])


def test_input_smaller_than_the_kernel():
    layer = DeformConv2d(2, 3, 3, padding=1)
    assert layer(torch.randn(1, 2, 1, 1), torch.zeros(1, 18, 1, 1)).shape == (1, 3, 1, 1)
    assert DeformConv2dPack(2, 3, 3, padding=1)(torch.randn(1, 2, 1, 2)).shape == (1, 3, 1, 2)


def test_any_batch_size_whatever_the_im2col_step():
    layer = DeformConv2dPack(2, 3, 3, padding=1, im2col_step=2)
    assert layer(torch.randn(3, 2, 4, 4)).shape == (3, 3, 4, 4)


@pytest.mark.parametrize("layer", [DeformConv2dPack, ModulatedDeformConv2dPack])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(layer, dtype, device):
    torch.manual_seed(0)
    module = layer(8, 8, 3, padding=1).to(device)
    torch.nn.init.normal_(module.conv_offset.weight, std=0.05)
    x = torch.randn(2, 8, 10, 10, device=device, requires_grad=True)
    exact = module(x)
    with torch.autocast(device, dtype):
        output = module(x)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), exact, atol=0.1, rtol=0.05)
    output.float().square().mean().backward()
    for gradient in (x.grad, module.weight.grad, module.conv_offset.weight.grad):
        assert gradient.dtype == torch.float32 and torch.isfinite(gradient).all() and gradient.abs().max() > 0


def test_shapes_that_contradict_the_groups_are_refused():
    x, offset, mask, weight, _ = tensors(1, 2, 1, 1, 1)
    with pytest.raises(ConfigError, match=r"offset has 36 channels, deform_groups=1 needs 18"):
        deform_conv2d(x, offset, weight, 1, 1)
    with pytest.raises(ConfigError, match=r"input has 4 channels.*groups=2 needs 8"):
        modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1, 1, 2, 2)
    with pytest.raises(ConfigError, match="version 1 has no bias"):
        deform_conv2d(x, offset, weight, 1, 1, 1, 1, 2, True)


@pytest.mark.slow
def test_operators_are_traced_whole_by_torch_compile():
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = ModulatedDeformConv2dPack(4, 4, 3, padding=1)

        def forward(self, x, rois):
            from mmcv.ops import roi_align

            return roi_align(self.conv(x), rois, (2, 2), 1.0, 2, "avg", True)

    torch.manual_seed(0)
    module, x, rois = Both(), torch.randn(1, 4, 8, 8, requires_grad=True), torch.tensor([[0, 1.0, 1.0, 6.0, 6.0]])
    expected = torch.autograd.grad(module(x, rois).sum(), x)[0]
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(x, rois).sum(), x)[0], expected)
