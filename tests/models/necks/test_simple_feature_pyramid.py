"""ViTDet's pyramid out of one map, and what can stand on it."""

import pytest
import torch
from mmengine.registry import DefaultScope

from densekit.errors import ConfigError
from densekit.models.assemble import assemble
from densekit.models.cost import parameter_count
from densekit.models.necks import SimpleFeaturePyramid
from densekit.registry import MODELS

VIT = {"type": "TimmBackbone", "name": "test_vit"}


@pytest.mark.parametrize(
    ("stride", "strides"), [(16, (4, 8, 16, 32)), (8, (4, 8, 16, 32)), (32, (8, 16)), (16, (32, 64)), (14, (7, 14, 28))]
)
def test_levels_have_the_strides_that_are_wanted(stride, strides):
    neck = SimpleFeaturePyramid(32, stride, 8, strides)
    assert (neck.in_strides, neck.out_strides, neck.out_channels) == ((stride,), strides, (8,) * len(strides))
    levels = neck([torch.randn(1, 32, 8, 12)])
    assert [level.shape[1:] for level in levels] == [(8, 8 * stride // s, 12 * stride // s) for s in strides]


def test_levels_beyond_are_every_second_value():
    neck = SimpleFeaturePyramid(16, 16, 8, num_outs=6)
    assert neck.out_strides == (4, 8, 16, 32, 64, 128)
    levels = neck([torch.randn(1, 16, 8, 8)])
    assert torch.equal(levels[4], levels[3][:, :, ::2, ::2]) and levels[5].shape[2:] == (1, 1)


def test_it_is_vitdets():
    """Of detectron2's ViTDet with a ViT-B: transposed convolutions with bias, the others without, norms behind them."""
    wanted = 0
    for width, up in ((192, (768, 384)), (384, (768,)), (768, ()), (768, ())):
        wanted += sum(4 * channels * channels // 2 + channels // 2 for channels in up)
        wanted += 2 * up[0] // 2 if len(up) > 1 else 0
        wanted += width * 256 + 9 * 256 * 256 + 2 * 2 * 256
    assert parameter_count(SimpleFeaturePyramid(768)) == wanted


def test_strides_that_do_not_follow_are_refused():
    with pytest.raises(ConfigError, match=r"stride 4 does not follow from a map of stride 14 .*patch_size=16"):
        SimpleFeaturePyramid(32, 14)


def test_a_detector_stands_on_a_plain_transformer():
    for head, strides in (("RetinaHead", (8, 16, 32, 64, 128)), ("StandardRoIHead", (4, 8, 16, 32, 64))):
        config = assemble(
            backbone=VIT, neck={"type": "SimpleFeaturePyramid", "out_channels": 16}, head=head, num_classes=3
        )
        first = config.get("rpn_head") or config.bbox_head
        assert tuple(first.anchor_generator.strides) == strides
        assert (config.neck.in_channels, tuple(config.neck.in_strides)) == (64, (16, 16, 16))
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config)
    maps = model.extract_feat(torch.randn(1, 3, 64, 96))
    assert [m.shape[1:] for m in maps] == [(16, 64 // s, -(-96 // s)) for s in strides]


def test_a_decoder_stands_on_a_plain_transformer():
    config = assemble(
        backbone=VIT, neck={"type": "SimpleFeaturePyramid", "out_channels": 16}, head="UPerHead", num_classes=3
    )
    assert list(config.decode_head.in_channels) == [16] * 4
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(config)
    assert [m.shape[2:] for m in model.extract_feat(torch.randn(1, 3, 64, 64))] == [(16, 16), (8, 8), (4, 4), (2, 2)]
