"""PANet's neck: its equations, and that it is MMDetection's wherever it is set to be."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.necks import FPN, PAFPN
from torch import nn

from densekit.models.cost import parameter_count
from densekit.models.necks.panet import PANetNeck

CHANNELS = [4, 8, 16, 32]


def backbone_maps():
    return [torch.randn(2, c, *size) for c, size in zip(CHANNELS, ((32, 44), (16, 22), (8, 11), (4, 6)), strict=True)]


def randomised(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


@pytest.mark.parametrize(
    "options",
    [
        {"num_outs": 5},
        {"num_outs": 4},
        {"num_outs": 5, "start_level": 1, "add_extra_convs": "on_input"},
        {"num_outs": 5, "start_level": 1, "add_extra_convs": "on_lateral"},
        {"num_outs": 5, "start_level": 1, "add_extra_convs": "on_output", "relu_before_extra_convs": True},
    ],
)
def test_without_the_recurrence_and_relu_it_is_pafpn_bit_for_bit(options):
    theirs = PAFPN(CHANNELS, 8, **options)
    theirs.init_weights()
    ours = PANetNeck(CHANNELS, 8, paper_recurrence=False, act_cfg=None, **options)
    ours.load_state_dict(theirs.state_dict())
    maps = backbone_maps()
    assert all(torch.equal(a, b) for a, b in zip(ours(maps), theirs(maps), strict=True))


def test_the_recurrence_of_the_paper():
    neck, maps = randomised(PANetNeck(CHANNELS, 8)), backbone_maps()
    pyramid = FPN.forward(neck, maps)[:4]
    wanted = [pyramid[0]]
    for i in range(3):
        down, conv = neck.downsample_convs[i].conv, neck.pafpn_convs[i].conv
        step = F.relu(F.conv2d(wanted[-1], down.weight, down.bias, stride=2, padding=1))
        wanted.append(F.relu(F.conv2d(pyramid[i + 1] + step, conv.weight, conv.bias, padding=1)))
    outputs = neck(maps)
    for found, expected in zip(outputs, [*wanted, F.max_pool2d(wanted[-1], 1, stride=2)], strict=True):
        torch.testing.assert_close(found, expected)


def test_group_norm_as_in_the_released_recipe():
    neck = PANetNeck(CHANNELS, 8, norm_cfg={"type": "GN", "num_groups": 4})
    sum(x.square().mean() for x in neck(backbone_maps())).backward()
    assert all(p.grad is not None for p in neck.parameters())
    assert neck.pafpn_convs[0].gn.num_groups == 4


def test_cost():
    with torch.device("meta"):
        neck = PANetNeck([256, 512, 1024, 2048])
        ordinary = FPN([256, 512, 1024, 2048], 256, 5)
    assert parameter_count(neck) - parameter_count(ordinary) == 3_540_480
