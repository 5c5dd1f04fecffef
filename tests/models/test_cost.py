"""Parameters and multiply-accumulates of the stock necks and heads that ours are compared with, at 800x1344."""

import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.models.necks import FPN, PAFPN
from torch import nn

from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.heads.paired_heads import SEPCRetinaHead
from densekit.models.necks.rcnet import RCFPN

R50 = [256, 512, 1024, 2048]
TO_P6 = {"in_channels": R50, "out_channels": 256, "num_outs": 5}
TO_P7 = {**TO_P6, "start_level": 1, "add_extra_convs": "on_input"}
RETINA = {"num_classes": 80, "in_channels": 256}


def maps_of_backbone():
    return [torch.empty(1, c, 200 >> i, 336 >> i, device="meta") for i, c in enumerate(R50)]


def pyramid():
    sizes = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
    return [torch.empty(1, 256, *size, device="meta") for size in sizes]


@pytest.mark.parametrize(
    ("kind", "options", "parameters", "billions"),
    [
        (FPN, TO_P6, 3_344_384, 60.90),
        (FPN, TO_P7, 7_997_440, 18.19),
        (PAFPN, TO_P6, 6_884_864, 86.91),
        (PAFPN, TO_P7, 10_357_760, 24.39),
    ],
)
def test_stock_necks(kind, options, parameters, billions):
    with torch.device("meta"):
        neck = kind(**options).eval()
    assert parameter_count(neck) == parameters
    assert multiply_accumulates(neck, maps_of_backbone()) / 1e9 == pytest.approx(billions, abs=0.005)


def test_towers_and_predictors_of_retinanet():
    with torch.device("meta"):
        whole, predictors = RetinaHead(**RETINA).eval(), SEPCRetinaHead(**RETINA).eval()
    assert (parameter_count(whole), parameter_count(predictors)) == (6_463_220, 1_742_580)
    assert parameter_count(whole.cls_convs) + parameter_count(whole.reg_convs) == 4_720_640
    of_predictors = multiply_accumulates(predictors, [(x, x) for x in pyramid()])
    of_towers = multiply_accumulates(whole, pyramid()) - of_predictors
    assert (of_towers / 1e9, of_predictors / 1e9) == pytest.approx((105.70, 39.02), abs=0.005)


def test_rcnet_without_norms():
    with torch.device("meta"):
        neck = RCFPN(R50, start_level=1)
    norms = [module for module in neck.modules() if isinstance(module, nn.BatchNorm2d)]
    # A convolution without a norm has a bias instead of the norm's.
    assert parameter_count(neck) - sum(norm.weight.numel() for norm in norms) == 7_660_738
