"""PANet's heads: pooling from all levels, and that they are MMDetection's wherever they are set to be."""

import pytest
import torch
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import nn

from densekit.errors import ConfigError
from densekit.models.cost import parameter_count
from densekit.models.heads.panet import (
    AllLevelRoIExtractor,
    LevelFusion,
    PANetConv4FCBBoxHead,
    PANetMaskHead,
    PANetShared2FCBBoxHead,
)

ROI_LAYER = {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0}
BOX = {"in_channels": 8, "roi_feat_size": 7, "num_classes": 3, "fc_out_channels": 16}
MASK = {"in_channels": 8, "conv_out_channels": 8, "roi_feat_size": 14, "num_classes": 3}


def randomised(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


# --- adaptive feature pooling -----------------------------------------------------------------------------------------
def rois(number=3):
    boxes = torch.tensor([[0, 4, 4, 60, 40], [1, 10, 2, 24, 30], [1, 0, 0, 90, 63]], dtype=torch.float32)
    return boxes[:number]


def test_every_region_is_pooled_from_every_level():
    maps = [torch.randn(2, 8, 16 >> i, 24 >> i) for i in range(3)]
    ours = AllLevelRoIExtractor(ROI_LAYER, 8, [4, 8, 16])
    found = ours(maps, rois())
    assert found.shape == (3, 3, 8, 7, 7)
    for level, stride in enumerate((4, 8, 16)):
        single = SingleRoIExtractor(ROI_LAYER, 8, [stride])
        assert torch.equal(found[:, level], single([maps[level]], rois()))
    enlarged = ours(maps, rois(), roi_scale_factor=1.5)
    assert not torch.equal(found, enlarged)


def test_no_regions():
    maps = [torch.randn(2, 8, 16 >> i, 24 >> i, requires_grad=True) for i in range(4)]
    found = AllLevelRoIExtractor(ROI_LAYER, 8, [4, 8, 16, 32])(maps, rois(0))
    assert found.shape == (0, 4, 8, 7, 7)
    for head in (PANetShared2FCBBoxHead(**BOX), PANetConv4FCBBoxHead(**BOX, conv_out_channels=8)):
        scores, boxes = head(found)
        assert (scores.shape, boxes.shape) == ((0, 4), (0, 12))
    assert PANetMaskHead(**MASK)(torch.zeros(0, 4, 8, 14, 14)).shape == (0, 3, 28, 28)


def test_16_bit_maps_do_not_round_the_regions():
    maps = [torch.randn(2, 8, 16 >> i, 24 >> i, dtype=torch.bfloat16) for i in range(2)]
    extractor = AllLevelRoIExtractor(ROI_LAYER, 8, [4, 8])
    found = extractor(maps, rois() + 0.3)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, extractor([m.float() for m in maps], rois() + 0.3).bfloat16())


@pytest.mark.parametrize("fusion", ["max", "sum"])
def test_fusion(fusion):
    layers = [nn.Linear(5, 3) for _ in range(4)]
    x = torch.randn(2, 4, 5)
    each = torch.stack([layer(x[:, i]) for i, layer in enumerate(layers)])
    expected = each.amax(0) if fusion == "max" else each.sum(0)
    torch.testing.assert_close(LevelFusion(layers, fusion)(x), expected)
    torch.testing.assert_close(LevelFusion(layers, fusion)(x.flatten(1)), expected)


def test_unknown_fusion_is_refused():
    with pytest.raises(ConfigError, match=r"fusion='maxx': expected 'max' or 'sum'; did you mean 'max'"):
        LevelFusion([nn.Identity()], "maxx")


# --- box heads --------------------------------------------------------------------------------------------------------
def copied(ours, theirs, first):
    """Load an ordinary head's weights; its first layer goes to every level."""
    state = theirs.state_dict()
    for key in ours.state_dict():
        if ".levels." in key:
            prefix, _, rest = key.partition(".levels.")
            state[key] = state[f"{prefix}.{rest.split('.', first)[first]}"]
    ours.load_state_dict({key: state[key] for key in ours.state_dict()})
    return ours


@pytest.mark.parametrize(
    ("ours", "theirs", "first"),
    [(PANetShared2FCBBoxHead, Shared2FCBBoxHead, 2), (PANetConv4FCBBoxHead, Shared4Conv1FCBBoxHead, 1)],
)
@pytest.mark.parametrize("fusion", ["max", "sum"])
def test_with_one_level_a_box_head_is_the_ordinary_one(ours, theirs, first, fusion):
    options = {**BOX, **({"conv_out_channels": 8} if first == 1 else {})}
    theirs = randomised(theirs(**options))
    ours = copied(ours(num_levels=1, fusion=fusion, **options), theirs, first)
    x = torch.randn(3, 8, 7, 7)
    for a, b in zip(ours(x[:, None]), theirs(x), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("kind", "fusions"), [(PANetShared2FCBBoxHead, 1), (PANetConv4FCBBoxHead, 1)])
def test_levels_have_layers_of_their_own_that_are_fused_by_maximum(kind, fusions):
    head = randomised(kind(**BOX, **({"conv_out_channels": 8} if kind is PANetConv4FCBBoxHead else {})))
    found = [m for m in head.modules() if isinstance(m, LevelFusion)]
    assert len(found) == fusions and len(found[0].levels) == 4
    x = torch.randn(3, 4, 8, 7, 7)
    layers = found[0].levels
    flat = x.flatten(2) if kind is PANetShared2FCBBoxHead else x
    each = torch.stack([layer(flat[:, i]) for i, layer in enumerate(layers)])
    assert (each >= 0).all()
    torch.testing.assert_close(found[0](flat), each.amax(0))
    with pytest.raises(ConfigError, match="with_avg_pool"):
        kind(with_avg_pool=True, **BOX)


def test_four_first_layers_cost_what_the_paper_says():
    with torch.device("meta"):
        head = PANetShared2FCBBoxHead(in_channels=256, roi_feat_size=7, num_classes=80)
    assert parameter_count(head.shared_fcs[0]) == 4 * (12_544 * 1024 + 1024)


def test_initialisation_reaches_the_layers_of_every_level():
    head = PANetShared2FCBBoxHead(**BOX)
    before = [layer[0].weight.clone() for layer in head.shared_fcs[0].levels]
    head.init_weights()
    after = [layer[0].weight for layer in head.shared_fcs[0].levels]
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert not torch.equal(after[0], after[1])


# --- mask head --------------------------------------------------------------------------------------------------------
def test_without_the_branch_and_with_one_level_the_mask_head_is_the_ordinary_one():
    theirs = randomised(FCNMaskHead(**MASK))
    ours = copied(PANetMaskHead(num_levels=1, with_ff=False, **MASK), theirs, 1)
    x = torch.randn(3, 8, 14, 14)
    torch.testing.assert_close(ours(x[:, None]), theirs(x))


@pytest.mark.parametrize("start", [2, 3, 4])
def test_the_branch_adds_one_logit_for_all_classes(start):
    head = randomised(PANetMaskHead(ff_start=start, **MASK))
    x = torch.randn(3, 4, 8, 14, 14)
    with_branch = head(x)
    left = x
    for conv in head.convs[:start]:
        left = conv(left)
    logit = head.ff(left)
    head.ff = None
    assert logit.shape == (3, 1, 28, 28)
    torch.testing.assert_close(with_branch, head(x) + logit)


def test_relu_on_the_branch_is_an_option():
    x = torch.randn(3, 8, 14, 14)
    assert (randomised(PANetMaskHead(**MASK)).ff(x) < 0).any()
    assert (randomised(PANetMaskHead(ff_relu=True, **MASK)).ff(x) >= 0).all()


def test_branch_costs_what_the_paper_says():
    with torch.device("meta"):
        head = PANetMaskHead(in_channels=256, conv_out_channels=256, roi_feat_size=14, num_classes=80)
    linear = next(m for m in head.ff if isinstance(m, nn.Linear))
    assert parameter_count(linear) == 19_669_776
    assert [m.conv.weight.shape[:2] for m in head.ff[:2]] == [(256, 256), (128, 256)]


def test_branch_from_a_convolution_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"ff_start=5: expected 1 to num_convs=4"):
        PANetMaskHead(ff_start=5, **MASK)
