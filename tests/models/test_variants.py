"""Named sizes: they build, have the widths they say, and about as many parameters as were published."""

import pytest

from densekit.errors import ConfigError
from densekit.models.assemble import assemble
from densekit.models.assemble.backbone import backbone_part
from densekit.models.assemble.parts import ask
from densekit.models.cost import parameter_count
from densekit.models.listing import print_models
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS
from densekit.registry import MODELS

RESNETS = [name for name in VARIANTS if name.startswith("resnet")]
VOLUMES = [name for name, variant in VARIANTS.items() if variant.decoder]
IMAGES = [name for name in VARIANTS if name not in (*RESNETS, *VOLUMES)]
IMAGENET_CLASSES = 1000


@pytest.mark.parametrize("name", VARIANTS)
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


@pytest.mark.parametrize("name", IMAGES)
def test_a_backbone_of_images_has_about_the_published_size(name):
    variant = VARIANTS[name]
    wired = backbone_part(name, pretrained=False)
    merged = {"deploy": True} if wired.takes("deploy") else {}  # as published
    with on_meta():
        count = parameter_count(wired.part(**wired.arguments, **merged))
    classifier = (variant.widths[-1] + 1) * IMAGENET_CLASSES
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
