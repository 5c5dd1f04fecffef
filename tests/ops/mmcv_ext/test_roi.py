"""RoIAlign and RoIPool through mmcv.ops: known answers, gradients by numeric differentiation, 16-bit types."""

import sys

import pytest
import torch
from mmcv.ops import RoIAlign, RoIPool, roi_align, roi_pool

from densekit.ops.mmcv_ext.missing import MissingOperatorError

# mmcv's own autograd function, written for the compiled operators, and the differentiable function in its place.
ROUTES = [roi_align, sys.modules["mmcv.ops.roi_align"].RoIAlignFunction.apply]


def ramp(height: int = 12, width: int = 16, device: str = "cpu") -> torch.Tensor:
    """Two channels: the x and the y coordinate of each pixel's centre."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y])[None].to(device)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_of_a_ramp_is_the_centre_of_each_bin(route, sampling_ratio, device):
    rois = torch.tensor([[0, 2.0, 1.0, 14.0, 9.0], [0, 3.3, 2.2, 7.7, 8.1]], device=device)
    output = route(ramp(device=device), rois, (2, 3), 1.0, sampling_ratio, "avg", True)
    for (x1, y1, x2, y2), (xs, ys) in zip(rois[:, 1:].tolist(), output.cpu(), strict=True):
        centres = torch.tensor([x1 + (x2 - x1) * (2 * i + 1) / 6 for i in range(3)])
        torch.testing.assert_close(xs, centres.expand(2, 3))
        centres = torch.tensor([y1 + (y2 - y1) * (2 * i + 1) / 4 for i in range(2)])
        torch.testing.assert_close(ys, centres[:, None].expand(2, 3))


@pytest.mark.parametrize("route", ROUTES)
def test_roi_align_conventions(route):
    rois = torch.tensor([[0, 4.0, 4.0, 8.0, 8.0]])
    image = ramp()
    # Not aligned: half a pixel off, as the first implementations. Scale 2: the region is in pixels twice as large.
    assert route(image, rois, 1, 1.0, 2, "avg", True)[0, :, 0, 0].tolist() == [6.0, 6.0]
    assert route(image, rois, 1, 1.0, 2, "avg", False)[0, :, 0, 0].tolist() == [6.5, 6.5]
    assert route(image, rois / 2, 1, 2.0, 2, "avg", True)[0, :, 0, 0].tolist() == [6.0, 6.0]
    # The second image of a batch, no region at all, a region outside the image.
    pair = torch.cat([image, 10 * image])
    assert route(pair, torch.tensor([[1, 4.0, 4.0, 8.0, 8.0]]), 1, 1.0, 2, "avg", True)[0, :, 0, 0].tolist() == [
        60.0,
        60.0,
    ]
    assert route(image, rois[:0], (7, 7), 1.0, 0, "avg", True).shape == (0, 2, 7, 7)
    outside = torch.tensor([[0, 104.0, 104.0, 108.0, 108.0]])
    assert route(image, outside, 1, 1.0, 2, "avg", True).abs().max() == 0


def test_roi_align_module_defaults_to_aligned():
    assert RoIAlign(1, sampling_ratio=2)(ramp(), torch.tensor([[0, 4.0, 4.0, 8.0, 8.0]])).flatten().tolist() == [
        6.0,
        6.0,
    ]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("aligned", "sampling_ratio"), [(True, 0), (True, 2), (False, 0)])
def test_roi_align_gradient(route, aligned, sampling_ratio):
    torch.manual_seed(0)
    features = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor(
        [[0, 0.3, 0.2, 4.1, 3.7], [1, 1.2, 0.4, 5.6, 4.9], [1, -1.0, 2.0, 9.0, 7.0]], dtype=torch.float64
    )
    assert torch.autograd.gradcheck(lambda x: route(x, rois, (2, 2), 0.9, sampling_ratio, "avg", aligned), (features,))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_roi_align_in_16_bits(route, dtype, device):
    torch.manual_seed(0)
    features = torch.randn(1, 4, 20, 20, device=device)
    rois = torch.tensor([[0, 1.3, 2.7, 15.2, 17.9]], device=device)
    exact = roi_align(features, rois, (3, 3), 1.0, 0, "avg", True)
    narrow = features.to(dtype).requires_grad_()
    with torch.autocast(device, dtype):
        output = route(narrow, rois, (3, 3), 1.0, 0, "avg", True)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), exact, atol=0.01, rtol=0.01)
    output.float().sum().backward()
    assert narrow.grad.dtype == dtype and torch.isfinite(narrow.grad).all()


def test_regions_keep_their_digits_under_bfloat16():
    """mmdet rounds them to the dtype of the features, where 1003 and 1005.5 are both 1004."""
    from mmdet.models.roi_heads import SingleRoIExtractor

    layer = {"type": "RoIAlign", "output_size": 1, "sampling_ratio": 2}
    extractor = SingleRoIExtractor(roi_layer=layer, out_channels=1, featmap_strides=[1])
    step = torch.zeros(1, 1, 4, 1200, dtype=torch.bfloat16)
    step[..., 1004:] = 1
    rois = torch.tensor([[0, 1003.0, 0.0, 1003.5, 4.0], [0, 1005.0, 0.0, 1005.5, 4.0]])
    output = extractor((step,), rois)
    assert output.dtype == torch.bfloat16 and output.flatten().tolist() == [0.0, 1.0]


def test_roi_align_by_maximum_is_refused():
    layer = RoIAlign(2, pool_mode="max")
    with pytest.raises(MissingOperatorError, match=r"roi_align with pool_mode='max'.*leave pool_mode at 'avg'"):
        layer(ramp(), torch.tensor([[0, 1.0, 1.0, 5.0, 5.0]]))


def roi_pool_by_definition(features, roi, size, scale) -> torch.Tensor:
    """mmcv's RoIPool: only the edges of the bins are rounded, outwards; the last pixel of a region belongs to it."""
    image, x1, y1, x2, y2 = roi.tolist()
    x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
    output = torch.zeros(features.shape[1], *size)
    for i in range(size[0]):
        for j in range(size[1]):
            top, bottom = y1 + i * (y2 - y1) / size[0], y1 + (i + 1) * (y2 - y1) / size[0]
            left, right = x1 + j * (x2 - x1) / size[1], x1 + (j + 1) * (x2 - x1) / size[1]
            rows = slice(max(int(top // 1), 0), max(int(-(-bottom // 1)), 0))
            columns = slice(max(int(left // 1), 0), max(int(-(-right // 1)), 0))
            inside = features[int(image), :, rows, columns]
            if x2 > x1 and y2 > y1 and inside.numel():
                output[:, i, j] = inside.amax((1, 2))
    return output


def test_roi_pool_known_answer(device):
    image = torch.arange(16.0, device=device).view(1, 1, 4, 4)
    rois = torch.tensor([[0, 0.0, 0.0, 3.0, 3.0], [0, 1.0, 1.0, 2.0, 2.0], [0, 9.0, 9.0, 12.0, 12.0]], device=device)
    output = roi_pool(image, rois, (2, 2), 1.0)
    assert output.flatten(1).tolist() == [[5.0, 7.0, 13.0, 15.0], [5.0, 6.0, 9.0, 10.0], [0.0] * 4]
    assert roi_pool(image, rois[:0], (2, 2), 1.0).shape == (0, 1, 2, 2)


def test_roi_pool_equals_its_definition(device):
    torch.manual_seed(0)
    features = torch.randn(2, 3, 9, 11)
    corner = torch.rand(20, 2) * 120 - 20
    rois = torch.cat([torch.randint(0, 2, (20, 1)).float(), corner, corner + torch.rand(20, 2) * 100 - 10], 1)
    output = RoIPool((3, 4), 1 / 16)(features.to(device), rois.to(device)).cpu()
    for found, roi in zip(output, rois, strict=True):
        torch.testing.assert_close(found, roi_pool_by_definition(features, roi, (3, 4), 1 / 16))


def test_roi_pool_gradient():
    values = torch.randperm(2 * 2 * 5 * 6, generator=torch.Generator().manual_seed(0)).double()
    features = (values / 10).view(2, 2, 5, 6).requires_grad_()
    rois = torch.tensor(
        [[0, 0.3, 0.2, 4.1, 3.7], [1, 1.2, 0.4, 5.6, 4.9], [1, 30.0, 2.0, 31.0, 7.0]], dtype=torch.float64
    )
    assert torch.autograd.gradcheck(lambda x: roi_pool(x, rois, (2, 2), 0.9), (features,), eps=1e-4)
