"""What every part of densekit promises, in 2D and 3D, run over all that are registered."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope

from densekit.errors import ConfigError
from densekit.models.assemble import assemble
from densekit.models.contract import LEVELS, Pyramid, per_axis, probe, said
from densekit.models.layers.unit_attention import DynamicPositionEncoding
from densekit.models.on_meta import on_meta
from densekit.models.recipes import RECIPES
from densekit.registry import MODELS

DYNUNET = {
    "kernel_size": [3, 3, 3],
    "strides": [1, 2, [1, 2, 2]],
    "upsample_kernel_size": [2, [1, 2, 2]],
    "filters": [4, 8, 16],
    "deep_supervision": True,
}
UNETR = {"img_size": [16, 16, 32], "feature_size": 4, "hidden_size": 12, "mlp_dim": 16, "num_heads": 2}
VIT = {"img_size": 64, "depth": 3, "embed_dim": 24, "num_heads": 2}
DFORMER = {"depths": (1, 1), "heads": (1, 2), "patch": (1, 2, 2)}
R18 = {"type": "ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
MAPS = {"in_channels": (4, 8, 12, 16), "out_channels": 16}
STRIDES = (4, 8, 16, 32)
SEPC = {"in_channels": 8, "out_channels": 8, "num_levels": 3, "num_pconvs": 1}
REGIONS = {"in_channels": 8, "num_levels": 2, "num_classes": 3}
BOX_HEAD = {**REGIONS, "fc_out_channels": 8, "roi_feat_size": 7}


SEGMENTOR = {"in_channels": (4, 8, 12, 16), "num_classes": 3, "channels": 8}


@dataclass
class Case:
    """One part with small arguments.

    Attributes:
        type: Its registered name.
        arguments: Its arguments.
        sizes: Of images; the last has odd sides.
        strides: Of the maps that a 2D neck or head is given, where it does not say them.
        paired: Whether those come in pairs.
        idle: Part of the names of parameters that do nothing.
    """

    type: str
    arguments: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[tuple[int, ...], ...] = ((64, 96), (96, 64), (61, 83))
    strides: tuple[int, ...] = STRIDES
    paired: bool = False
    idle: str | None = None

    def build(self, *, meta=False):
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope("mmdet"):
            if meta:
                with on_meta():
                    return MODELS.build({"type": f"densekit.{self.type}", **self.arguments}).eval()
            return MODELS.build({"type": f"densekit.{self.type}", **self.arguments}).eval()


VOLUMES = ((8, 16, 16), (16, 16, 24), (7, 15, 13))
BACKBONES = {
    "DFormer": Case("DFormer", {"in_channels": 2, "widths": (8, 16), "unit": (2, 4, 4), **DFORMER}, VOLUMES),
    "DynUNet": Case("MonaiNetwork", {"in_channels": 2, "name": "DynUNet", "num_classes": 3, "args": DYNUNET}, VOLUMES),
    "UNETR": Case(
        "MonaiNetwork",
        {"in_channels": 2, "name": "UNETR", "num_classes": 3, "args": UNETR},
        ((16, 16, 32),),
        idle="cross_attn",  # MONAI's blocks have it, its encoder does not use it
    ),
    "MixVisionTransformer": Case(
        "MixVisionTransformer", {"in_channels": 2, "widths": (8, 16, 40, 64), "depths": (1, 1, 1, 1)}
    ),
    "UniRepLKNet": Case(
        "UniRepLKNet",
        {"in_channels": 2, "widths": (8, 16, 24, 32), "depths": (1, 1, 2, 1), "kernels": ((3,), (7,), (9, 3), (5,))},
    ),
    "HorNet": Case(
        "HorNet",
        {
            "in_channels": 2,
            "widths": (16, 32, 48, 64),
            "depths": (1, 1, 1, 1),
            "filters": (None, None, (14, 8), (7, 4)),
        },
    ),
    "SMT": Case("SMT", {"in_channels": 2, "widths": (8, 16, 16, 32), "depths": (1, 1, 2, 1)}),
    # Its blocks square a map: more of them overflow with weights disturbed at random.
    "CASViT": Case("CASViT", {"in_channels": 2, "widths": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}),
    "EMOv2": Case("EMOv2", {"in_channels": 2, "widths": (8, 12, 20, 40), "depths": (2, 1, 2, 2), "window": 3}),
    "LSNet": Case("LSNet", {"in_channels": 2, "widths": (16, 32, 48, 64), "depths": (0, 2, 2, 2), "heads": 2}),
    "timm, convolutions": Case("TimmBackbone", {"in_channels": 2, "name": "test_resnet"}),
    "timm, tokens": Case("TimmBackbone", {"in_channels": 2, "name": "test_vit"}, ((64, 96), (96, 64))),
    "timm, one size": Case(
        "TimmBackbone", {"in_channels": 2, "name": "vit_tiny_patch16_224", "args": VIT}, ((64, 64),)
    ),
}
NECKS = {
    # Its encoder has padded the image, so its maps halve evenly; an odd number of tokens is left at the bottleneck.
    "DFormerDecoder": Case(
        "DFormerDecoder",
        {"in_channels": (8, 16, 24), "unit": (2, 4, 4), **DFORMER},
        ((8, 16, 16), (8, 16, 32), (12, 24, 8)),
    ),
    "PANetNeck": Case("PANetNeck", MAPS),
    "PANetNeck, from P3": Case("PANetNeck", {**MAPS, "start_level": 1, "num_outs": 5, "add_extra_convs": "on_output"}),
    "RCFPN": Case("RCFPN", {**MAPS, "start_level": 1}),
    "RCFPN, four maps": Case("RCFPN", {**MAPS, "extra_convs": False}),
    # Sides that its one map, of stride 16, divides: what comes out is twice and four times as large as that.
    "SimpleFeaturePyramid": Case(
        "SimpleFeaturePyramid", {"in_channels": 16, "out_channels": 8, "num_outs": 5}, ((64, 96), (96, 64))
    ),
    "SEPC": Case("SEPC", SEPC, strides=(8, 16, 32)),
    "SEPC, one map": Case("SEPC", {**SEPC, "with_lc_convs": False}, strides=(8, 16, 32)),
}
PAIRED = ("SEPCATSSHead", "SEPCFCOSHead", "SEPCFSAFHead", "SEPCFreeAnchorRetinaHead", "SEPCGFLHead", "SEPCRetinaHead")
HEADS = {
    "LogitsHead": Case("LogitsHead", {"num_classes": 3}, VOLUMES),
    "PatchExpandingHead": Case(
        "PatchExpandingHead",
        {"in_channels": (8, 16), "num_classes": 3, "patch": (1, 2, 2), "deep_supervision": 2},
        VOLUMES,
    ),
    **{name: Case(name, strides=(8, 16, 32, 64, 128), paired=True) for name in PAIRED},
    "VWHead": Case("VWHead", {**SEGMENTOR, "width": 64, "low_width": 8}),
    "VWHead, windows": Case("VWHead", {**SEGMENTOR, "width": 64, "window": 2, "preset": "cityscapes"}),
    "SegformerPaperHead": Case("SegformerPaperHead", SEGMENTOR),
    "LinearHead": Case("LinearHead", {"in_channels": (4, 8), "num_classes": 3, "in_index": (0, 1)}, strides=(8, 16)),
    "SingleStrideDPTHead": Case(
        "SingleStrideDPTHead",
        {**SEGMENTOR, "in_channels": (8,) * 4, "in_index": (0, 1, 2, 3), "post_process_channels": [8] * 4},
        strides=(16,) * 4,
    ),
}
REGION_PARTS = {
    "PANetShared2FCBBoxHead": BOX_HEAD,
    "PANetConv4FCBBoxHead": {**BOX_HEAD, "conv_out_channels": 8},
    "PANetMaskHead": {**REGIONS, "conv_out_channels": 8, "roi_feat_size": 14},
}
"""Heads of regions; with :class:`AllLevelRoIExtractor`, which has no parameters, they are tested beside PANet's."""


PIXEL_DECODERS = ("VWPixelDecoder", "VWMaskFormerPixelDecoder", "VWDeformablePixelDecoder")
"""Parts of heads, tested beside their module."""


def registered(room):
    """Names of the parts of densekit.models.<room>."""
    MODELS.import_all()
    found = MODELS.module_dict.items()
    return {name for name, part in found if part.__module__.startswith(f"densekit.models.{room}.")}


@pytest.fixture(autouse=True, scope="module")
def heads_with_their_settings():
    neck = [{"type": "FPN", "out_channels": 8}, {"type": "SEPC", "num_pconvs": 1}]
    for name in PAIRED:
        config = assemble(backbone=R18, neck=neck, head=name, num_classes=3)
        arguments = {key: value for key, value in config.bbox_head.to_dict().items() if key != "type"}
        HEADS[name].arguments = {**arguments, "train_cfg": config.train_cfg, "test_cfg": config.test_cfg}


# --- what goes in and comes out ---------------------------------------------------------------------------------------
def source_of(case, part):
    """The pyramid that a neck or head is given."""
    channels = part.in_channels
    strides = getattr(part, "in_strides", case.strides)
    channels = (channels,) * len(strides) if isinstance(channels, int) else tuple(channels)
    return Pyramid("test", channels, tuple(strides), case.paired)


def inputs_of(room, case, part, size, batch=2):
    """An image, or maps of one, of random numbers; each map has the size of the image over its stride, rounded up."""
    torch.manual_seed(1)
    if room == "backbones":
        return torch.randn(batch, part.in_channels, *size)

    def maps():
        pyramid = source_of(case, part)
        for channels, stride in zip(pyramid.channels, pyramid.strides, strict=True):
            sides = (math.ceil(n / s) for n, s in zip(size, per_axis(stride, len(size)), strict=True))
            yield torch.randn(batch, channels, *sides, requires_grad=True)

    return tuple(zip(maps(), maps(), strict=True)) if case.paired else tuple(maps())


def run(room, case, part, size):
    """All tensors that come out, in order."""
    given = inputs_of(room, case, part, size)
    outputs = part(given, size=size) if room == "heads" and part.spatial_dims == 3 else part(given)
    return flat(outputs)


def flat(outputs):
    return [outputs] if isinstance(outputs, torch.Tensor) else [t for part in outputs for t in flat(part)]


ALL = [
    pytest.param(room, case, id=name)
    for room, cases in (("backbones", BACKBONES), ("necks", NECKS), ("heads", HEADS))
    for name, case in cases.items()
]
PYRAMIDS = [param for param in ALL if param.values[0] != "heads"]


# --- promises ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("room", "cases"), [("backbones", BACKBONES), ("necks", NECKS), ("heads", HEADS)])
def test_every_registered_part_is_tested_here(room, cases):
    others = {*REGION_PARTS, "AllLevelRoIExtractor", *PIXEL_DECODERS} if room == "heads" else set()
    assert registered(room) - others == {case.type for case in cases.values()}


@pytest.mark.parametrize(("room", "case"), ALL)
def test_it_says_what_it_takes(room, case):
    part = case.build()
    facts = said(part)
    assert part.spatial_dims == facts.dims == len(case.sizes[0])
    assert facts.in_channels is not None
    if room == "necks":
        assert getattr(part, "levels", "all") in LEVELS
    if room == "heads" and case.paired:
        assert part.recipe in RECIPES and part.pairs


@pytest.mark.parametrize(("room", "case"), PYRAMIDS)
def test_maps_are_what_it_says_at_every_size(room, case):
    part = case.build()
    facts = said(part, None if room == "backbones" else source_of(case, part))
    gives = facts.gives
    for size in case.sizes:
        with torch.no_grad():
            maps = run(room, case, part, size)
        maps, partners = (maps[::2], maps[1::2]) if gives.paired else (maps, maps)
        assert [m.shape[1] for m in maps] == list(gives.channels)
        assert [m.shape for m in maps] == [m.shape for m in partners]
        padded = size
        if facts.size_multiple and facts.dims == 3:  # of images, what was padded is cut off again
            padded = [math.ceil(n / multiple) * multiple for n, multiple in zip(size, facts.size_multiple, strict=True)]
        for found, stride in zip(maps, gives.strides, strict=True):
            strides = per_axis(stride, facts.dims)
            assert list(found.shape[2:]) == [math.ceil(n / s) for n, s in zip(padded, strides, strict=True)]


@pytest.mark.parametrize(("room", "case"), [p for p in PYRAMIDS if len(p.values[1].sizes[0]) == 2])
def test_what_it_says_is_what_trying_it_out_shows(room, case):
    part = case.build(meta=True)
    source = None if room == "backbones" else source_of(case, part)
    if said(part).fixed_size:
        with pytest.raises(ConfigError, match="does not run on what it is given"):
            probe(part, source, 2)
    else:
        assert probe(part, source, 2) == said(part, source).gives


@pytest.mark.parametrize(("room", "case"), ALL)
def test_every_parameter_learns(room, case):
    part = case.build().train()
    given = inputs_of(room, case, part, case.sizes[0])
    outputs = flat(part(given, size=case.sizes[0]) if room == "heads" and part.spatial_dims == 3 else part(given))
    sum(o.square().mean() for o in outputs).backward()
    learning = {n: p for n, p in part.named_parameters() if case.idle is None or case.idle not in n}
    assert [name for name, p in learning.items() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in learning.values())
    if room == "necks":
        assert all(m.grad is not None for m in given[getattr(part, "start_level", 0) :])


@pytest.mark.parametrize(("room", "case"), ALL)
def test_the_same_seed_gives_the_same_part_and_the_same_result(room, case):
    one, other = case.build(), case.build()
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    with torch.no_grad():
        results = [run(room, case, part, case.sizes[-1]) for part in (one, one, other)]
    for first, again in pairwise(results):
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(("room", "case"), ALL)
def test_weights_carry_all_it_has_learnt(room, case, tmp_path):
    one, other = case.build(), case.build()
    with torch.no_grad():
        for tensor in one.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) / 8)
        torch.save(one.state_dict(), tmp_path / "weights.pth")
        other.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
        first, again = (run(room, case, part, case.sizes[0]) for part in (one, other))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("name", [name for name, case in HEADS.items() if case.sizes == VOLUMES])
def test_heads_of_volumes_give_logits_of_the_label_map(name):
    case = HEADS[name]
    head = case.build()
    for size in case.sizes:
        maps, label = inputs_of("heads", case, head, size), torch.randint(0, 3, (2, *size))
        assert [o.shape for o in head.eval()(maps, size=size)] == [(2, 3, *size)]
        assert torch.equal(head.predict(maps, size), head(maps, size=size)[0])
        losses = head.train().loss(maps, label)
        assert all(key.startswith("loss") and value.ndim == 0 for key, value in losses.items())
        # While training too, a prediction is the full-resolution output alone.
        assert head.predict(maps, size).shape == (2, 3, *size)


@pytest.mark.parametrize("name", REGION_PARTS)
def test_heads_of_regions(name):
    head = Case(name, REGION_PARTS[name]).build()
    side = REGION_PARTS[name]["roi_feat_size"]
    for regions in (0, 3):
        outputs = flat(head(torch.randn(regions, 2, 8, side, side)))
        assert all(len(o) == regions for o in outputs)
    sum(o.square().mean() for o in outputs).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())
    other = Case(name, REGION_PARTS[name]).build()
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), other.parameters(), strict=True))


def test_the_position_encoding_learns_in_bfloat16_whatever_was_in_the_memory():
    """oneDNN's depth-wise 3D convolution reads memory that it has not written, see ``DynamicPositionEncoding``."""
    torch.manual_seed(0)
    layer, x = DynamicPositionEncoding(16), torch.randn(2, 2, 3, 3, 16)
    (layer(x) ** 2).mean().backward()
    expected = layer.conv.weight.grad.clone()
    for _ in range(40):
        layer.zero_grad()
        dirt = [torch.full((size,), float("nan")) for size in (16, 64, 256, 512, 1024, 4096, 16384) for _ in range(20)]
        with torch.autocast("cpu", torch.bfloat16):
            loss = (layer(x) ** 2).mean()
        del dirt
        loss.backward()
        assert layer.conv.weight.grad.isfinite().all()
        assert torch.allclose(layer.conv.weight.grad, expected, atol=1e-3)
