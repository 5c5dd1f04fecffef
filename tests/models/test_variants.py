"""Named sizes: they build, have the widths they say, and about as many parameters as were published."""

import re

import pytest
import torch

from densekit.errors import ConfigError
from densekit.models.assemble import assemble
from densekit.models.assemble.backbone import backbone_part
from densekit.models.assemble.parts import ask, built
from densekit.models.backbones import TimmBackbone
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.listing import print_models
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS
from densekit.models.variants.counted import COUNTED
from densekit.registry import MODELS

TIMM = [name for name, variant in VARIANTS.items() if variant.part == "TimmBackbone"]
RESNETS = [name for name, variant in VARIANTS.items() if variant.part == "mmdet.ResNet"]
VOLUMES = [name for name, variant in VARIANTS.items() if variant.decoder]
IMAGES = [name for name in VARIANTS if name not in (*RESNETS, *VOLUMES, *TIMM)]
IMAGENET_CLASSES = 1000


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in TIMM])
def test_it_gives_maps_of_the_widths_it_says(name):
    variant = VARIANTS[name]
    given = ask(backbone_part(name, pretrained=True)).gives
    assert given.channels == variant.widths if variant.widths else len(given.channels) == 1


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_is_that_of_torchvision(name):
    variant = VARIANTS[name]
    wired = backbone_part(name, pretrained=True)
    assert wired.part.arch_settings[variant.arguments["depth"]][1] == variant.depths
    assert wired.arguments["init_cfg"]["checkpoint"] == variant.weights
    with on_meta():
        count = parameter_count(wired.part(**wired.arguments))
    classifier = (variant.widths[-1] + 1) * IMAGENET_CLASSES
    assert round((count + classifier) / 1e6, 2) == variant.published


@pytest.mark.parametrize("name", [name for name in IMAGES if VARIANTS[name].published])
def test_a_backbone_of_images_has_about_the_published_size(name):
    variant = VARIANTS[name]
    wired = backbone_part(name, pretrained=False)
    merged = {"deploy": True} if wired.takes("deploy") else {}  # as published
    with on_meta():
        count = parameter_count(wired.part(**wired.arguments, **merged))
    classifier = (variant.widths[-1] + 1) * IMAGENET_CLASSES * (2 if variant.part == "CASViT" else 1)
    assert (count + classifier) / 1e6 == pytest.approx(variant.published, rel=0.01)


@pytest.mark.parametrize("name", [name for name in VOLUMES if VARIANTS[name].published])
def test_a_network_for_volumes_has_about_the_published_size(name):
    decoder = {
        "neck": {"type": "DFormerDecoder", "skip": "add"},
        "head": {"type": "PatchExpandingHead", "deep_supervision": 1},
    }
    parts = decoder if name.startswith("dformer") else {"head": "LogitsHead"}
    config = assemble(backbone=name, **parts, num_classes=14)
    with on_meta():
        count = parameter_count(MODELS.build(config))
    assert count / 1e6 == pytest.approx(VARIANTS[name].published, rel=0.011)


def test_arguments_are_put_over_those_of_the_size():
    config = assemble(
        backbone={"type": "dformer_tiny", "unit": (2, 7, 5)},
        neck={"type": "DFormerDecoder", "depths": (2, 2), "heads": (1, 2)},
        head={"type": "PatchExpandingHead", "deep_supervision": 2},
        num_classes=3,
    )
    assert (config.backbone.unit, config.backbone.widths) == ((2, 7, 5), (32, 64, 128))
    assert (config.neck.in_channels, config.neck.patch, config.head.in_channels) == (
        (32, 64, 128),
        (2, 2, 2),
        (32, 64),
    )
    config = assemble(backbone={"type": "monai_dynunet", "args": {"deep_supervision": False}}, head="LogitsHead",
                      num_classes=3)  # fmt: skip
    assert config.backbone.args.deep_supervision is False and config.backbone.args.deep_supr_num == 2


def test_it_stands_for_a_backbone_only():
    with pytest.raises(ConfigError, match="neck: 'dformer' is no part"):
        assemble(backbone="dformer", neck="dformer", head="PatchExpandingHead", num_classes=3)


def test_the_listing_has_them(capsys):
    assert print_models() == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in VARIANTS)


def test_the_listing_says_what_a_size_costs_and_whose_its_weights_are(capsys):
    print_models()
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    swin = r" 27\.52 M +4\.49 G at 224x224 +weights: mit "
    assert re.search(swin, lines["swin_tiny_patch4_window7_224"])
    assert "weights: cc-by-nc-4.0" in lines["convnextv2_tiny"]
    assert "no weights named" in lines["hieradet_small"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "resnet18" else pytest.mark.slow) for name in COUNTED]
)
def test_what_a_size_costs_is_what_is_counted(name):
    variant, wired = VARIANTS[name], backbone_part(name, pretrained=False)
    backbone = built(wired)
    assert parameter_count(backbone) / 1e6 == pytest.approx(variant.parameters, abs=0.006)
    channels = wired.arguments.get("in_channels", getattr(backbone, "in_channels", 3))
    macs = multiply_accumulates(backbone, torch.empty(1, channels, *variant.size, device="meta"))
    assert macs / 1e9 == pytest.approx(variant.macs, abs=0.006)


# --- timm -------------------------------------------------------------------------------------------------------------
FEW = ["convnext_atto", "swin_tiny_patch4_window7_224", "dla46_c", "vit_small_patch14_dinov2"]
TINY = {"convnext_atto", "dla46_c", "rexnet_100", "pvt_v2_b0", "inception_next_atto"}
ONE_OF_EACH = [pytest.param(name, marks=[] if name in FEW else pytest.mark.slow) for name in TIMM]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_network_of_timm_is_what_its_row_says(name):
    import timm

    variant, cfg = VARIANTS[name], timm.get_pretrained_cfg(name)
    assert (variant.weights, variant.licence) == ((f"timm/{name}", cfg.license) if cfg.has_weights else (None, None))
    with on_meta():
        backbone = TimmBackbone(name).eval()
    assert (variant.widths, list(variant.mean), list(variant.std)) == (
        backbone.out_channels,
        pytest.approx(backbone.mean, abs=1e-3),
        pytest.approx(backbone.std, abs=1e-3),
    )
    assert parameter_count(backbone) / 1e6 == pytest.approx(variant.parameters, abs=0.006)
    macs = multiply_accumulates(backbone, torch.empty(1, 3, *variant.size, device="meta"))
    assert macs / 1e9 == pytest.approx(variant.macs, abs=0.006)
    if variant.published:
        with on_meta():
            count = parameter_count(timm.create_model(name))
        assert count / 1e6 == pytest.approx(variant.published, rel=0.011)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_network_of_timm_gives_the_strides_it_promises_at_two_sizes(name):
    with on_meta():
        backbone = TimmBackbone(name).eval()
    for size in [backbone.fixed_size] if backbone.fixed_size else [(192, 256), (224, 96)]:
        with torch.no_grad():
            maps = backbone(torch.empty(1, 3, *size, device="meta"))
        for m, channels, stride in zip(maps, backbone.out_channels, backbone.out_strides, strict=True):
            assert m.shape[1:] == (channels, *(-(-side // stride) for side in size))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "dla46_c" else pytest.mark.slow) for n in sorted(TINY)]
)
def test_a_network_of_timm_learns(name):
    backbone = TimmBackbone(name).train()
    sum(m.square().mean() for m in backbone(torch.randn(2, 3, 64, 96))).backward()
    assert [key for key, p in backbone.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_named_networks_of_timm_are_wired_as_such():
    wired = backbone_part("convnext_tiny", pretrained=True)
    assert wired.arguments == {"name": "convnext_tiny", "pretrained": True}
    assert backbone_part({"type": "convnext_tiny", "drop_path_rate": 0.2}, pretrained=False).arguments == {
        "name": "convnext_tiny",
        "pretrained": False,
        "drop_path_rate": 0.2,
        "norm_eval": False,
        "frozen_stages": -1,
    }
    assert backbone_part("hieradet_small", pretrained=True).arguments["pretrained"] is False  # there are none
