"""SegFormer's decoder in the paper's form, beside MMSegmentation's."""

import pytest
import torch
from mmseg.models.decode_heads import SegformerHead
from torch import nn
from torch.nn import functional as F

from densekit.errors import ConfigError
from densekit.models.backbones.mit import MixVisionTransformer
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.heads.segformer import SegformerPaperHead, rename_official, shared_with_mmseg
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS

B2 = (64, 128, 320, 512)
SMALL = (4, 8, 12, 16)
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def pyramid(channels, height, width):
    sizes = zip(channels, (4, 8, 16, 32), strict=True)
    return [torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in sizes]


def randomised(module):
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if "running_var" in name else value.normal_(std=0.3)
    return module.eval()


def official_shapes(channels, width, classes):
    """Keys and shapes of the authors' head; its ``conv_seg`` is of no use."""
    shapes = {"conv_seg.weight": (classes, 128, 1, 1), "conv_seg.bias": (classes,)}
    for level, given in enumerate(channels, start=1):
        shapes |= {f"linear_c{level}.proj.weight": (width, given), f"linear_c{level}.proj.bias": (width,)}
    shapes["linear_fuse.conv.weight"] = (width, 4 * width, 1, 1)
    shapes |= {f"linear_fuse.bn.{key}": () if "num" in key else (width,) for key in BATCH_NORM}
    return shapes | {"linear_pred.weight": (classes, width, 1, 1), "linear_pred.bias": (classes,)}


DEEP = pytest.mark.slow(reason="dozens of blocks are counted one by one")


@pytest.mark.parametrize(
    ("encoder", "side", "options", "millions", "billions"),
    [
        ("mit_b0", 512, {}, 3.75, 8.39),
        ("mit_b1", 512, {"channels": 256}, 13.72, 15.88),
        ("mit_b2", 512, {}, 27.46, 62.34),
        pytest.param("mit_b3", 512, {}, 47.34, 78.96, marks=DEEP),
        pytest.param("mit_b4", 512, {}, 64.11, 95.57, marks=DEEP),
        pytest.param("mit_b5", 640, {}, 84.71, 183.14, marks=DEEP),
    ],
)
def test_published_totals(encoder, side, options, millions, billions):
    variant = VARIANTS[encoder]
    with on_meta():
        network = nn.Sequential(
            MixVisionTransformer(**variant.arguments),
            SegformerPaperHead(variant.widths, num_classes=150, **options),
        ).eval()
    cost = multiply_accumulates(network, torch.empty(1, 3, side, side, device="meta"))
    assert parameter_count(network) / 1e6 == pytest.approx(millions, abs=0.005)
    assert cost / 1e9 == pytest.approx(billions, abs=0.005)


@pytest.mark.parametrize("size", [(64, 64), (64, 128), (61, 83)])
def test_it_computes_what_the_paper_says(size):
    theirs = {k: torch.randn(s) * 0.3 if s else torch.tensor(1) for k, s in official_shapes(SMALL, 6, 3).items()}
    theirs["linear_fuse.bn.running_var"].abs_().add_(0.5)
    head = SegformerPaperHead(SMALL, num_classes=3, channels=6).eval()
    head.load_state_dict(rename_official(theirs))
    maps, up = pyramid(SMALL, *size), []
    for level in (4, 3, 2, 1):
        weight, bias = theirs[f"linear_c{level}.proj.weight"], theirs[f"linear_c{level}.proj.bias"]
        x = F.linear(maps[level - 1].permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
        up.append(F.interpolate(x, maps[0].shape[2:], mode="bilinear", align_corners=False))
    x = F.conv2d(torch.cat(up, 1), theirs["linear_fuse.conv.weight"])
    mean, var, weight, bias = (theirs[f"linear_fuse.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    x = F.relu(F.batch_norm(x, mean, var, weight, bias))
    expected = F.conv2d(x, theirs["linear_pred.weight"], theirs["linear_pred.bias"])
    assert torch.allclose(head(maps), expected, atol=1e-5)


def test_official_keys_in_a_whole_checkpoint():
    theirs = {f"decode_head.{key}": None for key in official_shapes(B2, 768, 150)} | {"backbone.norm1.weight": None}
    ours = {f"decode_head.{key}" for key in SegformerPaperHead(B2, num_classes=150).state_dict()}
    assert set(rename_official(theirs)) == ours | {"backbone.norm1.weight"}


def test_what_it_shares_with_mmsegmentation():
    options = {"num_classes": 3, "channels": 6, "in_index": [0, 1, 2, 3]}
    stock = randomised(SegformerHead(in_channels=list(SMALL), norm_cfg={"type": "BN"}, **options))
    head = randomised(SegformerPaperHead(SMALL, **options))
    missing, unexpected = head.load_state_dict(shared_with_mmseg(stock.state_dict()), strict=False)
    assert not unexpected and {key.partition(".")[0] for key in missing} == {"projections"}
    # From the projected maps on, the two are one network.
    stock.convs, head.projections = (nn.ModuleList(nn.Identity() for _ in SMALL) for _ in range(2))
    maps = pyramid((6, 6, 6, 6), 64, 96)
    assert torch.allclose(head(maps), stock(maps), atol=1e-5)
    back = shared_with_mmseg(head.state_dict(), to_mmseg=True)
    assert back.keys() == stock.state_dict().keys()
    assert all(torch.equal(value, stock.state_dict()[key]) for key, value in back.items())


def test_maps_that_are_not_four():
    with pytest.raises(ConfigError, match=r"in_channels=\(8, 16\): SegformerPaperHead takes four maps"):
        SegformerPaperHead((8, 16), num_classes=3)
    head = SegformerPaperHead(SMALL, num_classes=3, channels=6)
    with pytest.raises(ConfigError, match="of what stands before it, which gives 3"):
        head(pyramid(SMALL, 64, 64)[:3])
    with pytest.raises(ConfigError, match="each of half the size of the one before"):
        head([torch.randn(1, c, 8, 8) for c in SMALL])
