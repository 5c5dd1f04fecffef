"""Sizes that timm's networks take: any, multiples to which they pad, one alone, or none."""

import math

import pytest
import torch

from densekit.errors import ConfigError
from densekit.models.backbones import TimmBackbone
from densekit.models.backbones.timm_sizes import family_of
from densekit.models.on_meta import on_meta

MULTIPLES = {
    "dla46_c": 32,
    "sam2_hiera_tiny": 32,
    "hrnet_w18_small": 32,
    "halonet26t": 256,
    "maxvit_pico_rw_256": (256, 256),
    "swin_tiny_patch4_window7_224": 4,
    "swinv2_tiny_window8_256": 4,
    "vit_small_patch14_dinov2": 14,
    "vit_small_patch16_dinov3": 16,
}
FIXED = {
    "coatnet_nano_rw_224": (224, 224),
    "hiera_tiny_224": (224, 224),
    "hiera_small_abswin_256": (256, 256),
    "mvitv2_tiny": (224, 224),
    "nest_tiny": (224, 224),
    "tnt_s_patch16_224": (224, 224),
}
AS_IS = ["convnext_atto", "efficientnet_b0", "mambaout_femto", "pvt_v2_b0", "inception_v4"]


def build(name, **arguments):
    with on_meta():
        return TimmBackbone(name, **arguments).eval()


def shapes(backbone, size):
    with torch.no_grad():
        return [tuple(m.shape[1:]) for m in backbone(torch.empty(1, backbone.in_channels, *size, device="meta"))]


def promised(backbone, size):
    """Channels, and the size over the stride, rounded up."""
    sides = ([math.ceil(side / stride) for side in size] for stride in backbone.out_strides)
    return [(channels, *pair) for channels, pair in zip(backbone.out_channels, sides, strict=True)]


@pytest.mark.parametrize("name", MULTIPLES)
def test_it_pads_to_a_multiple_and_cuts_off_what_lies_beyond_the_image(name):
    backbone = build(name)
    assert (backbone.size_multiple, backbone.fixed_size) == (MULTIPLES[name], None)
    assert shapes(backbone, (101, 67)) == promised(backbone, (101, 67))


@pytest.mark.parametrize("name", AS_IS)
def test_others_take_any_size_as_it_is(name):
    backbone = build(name)
    assert (backbone.size_multiple, backbone.fixed_size) == (None, None)
    assert shapes(backbone, (160, 128)) == promised(backbone, (160, 128))
    for found, wanted in zip(shapes(backbone, (165, 131)), promised(backbone, (165, 131)), strict=True):
        assert all(0 <= w - f <= 1 for f, w in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", FIXED)
def test_one_size_alone(name):
    backbone = build(name)
    assert (backbone.size_multiple, backbone.fixed_size) == (None, FIXED[name])
    assert shapes(backbone, FIXED[name]) == promised(backbone, FIXED[name])
    side = FIXED[name][0]
    with pytest.raises(ConfigError, match=rf"{name}.*takes images of {side} x {side} .* got 512 x 640; resize"):
        shapes(backbone, (512, 640))


def test_it_is_made_for_another_size():
    for name in ("coatnet_nano_rw_224", "hiera_small_abswin_256", "vit_small_patch16_224"):
        backbone = build(name, img_size=(128, 192))
        assert backbone.fixed_size == (128, 192)
        assert shapes(backbone, (128, 192)) == promised(backbone, (128, 192))
    assert build("maxvit_pico_rw_256", img_size=(128, 192)).size_multiple == (128, 192)


def test_squares_alone():
    backbone = build("mvitv2_tiny", img_size=(128, 128))
    assert backbone.fixed_size == (128, 128)
    assert shapes(backbone, (128, 128)) == promised(backbone, (128, 128))
    for name in ("mvitv2_tiny", "nest_tiny"):
        with pytest.raises(ConfigError, match=rf"{name}.*img_size=\(128, 192\): it takes squares alone"):
            build(name, img_size=(128, 192))


@pytest.mark.parametrize(("name", "instead"), [("hiera_tiny_224", "hiera_small_abswin_256"), ("nest_tiny_jx", "swin_")])
def test_weights_tied_to_one_size_are_refused_at_another(name, instead):
    with pytest.raises(ConfigError, match=rf"{name}.*tied to images of 224 x 224.*{instead}"):
        build(name, img_size=256, pretrained=True)
    later = build(name, img_size=256)
    later.pretrained = "weights.pth"
    with pytest.raises(ConfigError, match="tied to images"):
        later.init_weights()
    assert build("hiera_small_abswin_256", img_size=320, pretrained=True).fixed_size == (320, 320)


def test_what_is_no_pyramid_is_refused():
    with pytest.raises(ConfigError, match=r"crossvit_tiny_240.*two maps of unrelated strides"):
        build("crossvit_tiny_240")


def test_padding_does_not_shift_what_is_seen():
    """Of an image that needs no padding the maps are timm's own, and a larger one begins with the same values."""
    torch.manual_seed(0)
    backbone = TimmBackbone("test_vit", out_norm=None).eval()
    x = torch.randn(1, 3, 64, 80)
    with torch.no_grad():
        own = backbone.network(x)
        assert all(torch.equal(a, b) for a, b in zip(backbone(x), own, strict=True))
        # Zeros at its end are what it pads with itself.
        x[:, :, 60:], x[:, :, :, 75:] = 0, 0
        assert all(torch.equal(a, b) for a, b in zip(backbone(x[:, :, :60, :75]), backbone.network(x), strict=True))


def test_swin_at_its_own_size_is_timms():
    torch.manual_seed(0)
    arguments = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4}
    free = TimmBackbone("swin_tiny_patch4_window7_224", out_norm=None, args=arguments).eval()
    made = TimmBackbone("swin_tiny_patch4_window7_224", out_norm=None, img_size=64, args=arguments).eval()
    made.load_state_dict(free.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(free(x), made(x), strict=True))


def test_families_are_timms_modules():
    assert family_of("resnet50.a1_in1k") == "resnet"
    assert family_of("hiera_tiny_224") == "hiera"
