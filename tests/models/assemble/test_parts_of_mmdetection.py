"""Every backbone, neck and head that MMDetection registers: assemble() works with it, or one line says why not."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from densekit.errors import ConfigError
from densekit.models.assemble import assemble
from densekit.models.on_meta import on_meta

R18 = {"type": "ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
HRNET = {
    f"stage{number}": {
        "num_modules": 1,
        "num_branches": number,
        "block": "BASIC" if number > 1 else "BOTTLENECK",
        "num_blocks": (1,) * number,
        "num_channels": (8, 16, 32, 64)[:number] if number > 1 else (16,),
    }
    for number in (1, 2, 3, 4)
}
CONV_AWS = {"conv_cfg": {"type": "ConvAWS"}, "norm_cfg": {"type": "BN"}}
BACKBONES = {
    "CSPDarknet": ({}, (256, 512, 1024)),
    "CSPNeXt": ({}, (256, 512, 1024)),
    "Darknet": ({}, (256, 512, 1024)),
    "DetectoRS_ResNeXt": ({"depth": 50}, (256, 512, 1024, 2048)),
    "DetectoRS_ResNet": ({"depth": 50}, (256, 512, 1024, 2048)),
    "EfficientNet": ({"out_indices": (3, 4, 5)}, (40, 112, 320)),
    "HRNet": ({"extra": HRNET}, (8, 16, 32, 64)),
    "MobileNetV2": ({}, (24, 32, 96, 1280)),
    "PyramidVisionTransformer": ({"num_layers": [1, 1, 1, 1]}, (64, 128, 320, 512)),
    "PyramidVisionTransformerV2": ({"embed_dims": 32, "num_layers": [1, 1, 1, 1]}, (32, 64, 160, 256)),
    "RegNet": ({"arch": "regnetx_400mf"}, (32, 64, 160, 384)),
    "Res2Net": ({"depth": 50}, (256, 512, 1024, 2048)),
    "ResNeSt": ({"depth": 50}, (256, 512, 1024, 2048)),
    "ResNeXt": ({"depth": 50, "groups": 32, "base_width": 4}, (256, 512, 1024, 2048)),
    "ResNet": ({"depth": 18}, (64, 128, 256, 512)),
    "ResNetV1d": ({"depth": 18}, (64, 128, 256, 512)),
    "SSDVGG": ({"depth": 16}, (512, 1024)),
    "SwinTransformer": ({"embed_dims": 24, "depths": (1, 1, 1, 1)}, (24, 48, 96, 192)),
}
"""What each that works is given, and its channels."""
REFUSED_BACKBONES = {
    "HourglassNet": ({}, r"gives maps of strides \(4, 4\), the pyramid of RetinaHead begins at stride 8"),
    "TridentResNet": (
        {"depth": 50, "num_branch": 3, "test_branch_idx": 1, "trident_dilations": (1, 2, 3)},
        r"refuses its arguments: AssertionError in `assert self.num_stages == 3`",
    ),
}
NECKS = {
    "BFP": ("FPN", {"num_levels": 5}),
    "CLRFPN": (None, {}),
    "CSPNeXtPAFPN": (None, {"num_csp_blocks": 1}),
    "ChannelMapper": (None, {}),
    "DilatedEncoder": (
        "last",
        {"in_channels": 16, "block_mid_channels": 8, "num_residual_blocks": 1, "block_dilations": [2]},
    ),
    "DyHead": ("FPN", {"num_blocks": 1}),
    "FPN": (None, {}),
    "FPN_CARAFE": (None, {}),
    "FPN_DropBlock": (None, {}),
    "HRFPN": (None, {}),
    "NASFCOS_FPN": (None, {}),
    "NASFPN": (None, {"stack_times": 1}),
    "PAFPN": (None, {}),
    "SSDNeck": (
        "last",
        {"in_channels": (16,), "out_channels": (16, 16), "level_strides": (2,), "level_paddings": (1,)},
    ),
    "YOLOXPAFPN": (None, {"num_csp_blocks": 1}),
}
"""What stands before each that works (``"last"``: a backbone with a single map), and its arguments."""
REFUSED_NECKS = {
    "CTResNetNeck": "missing 2 required positional arguments: 'num_deconv_filters' and 'num_deconv_kernels'",
    "FPG": "missing 2 required positional arguments: 'stack_times' and 'paths'",
    "RFP": "missing 3 required positional arguments: 'rfp_steps', 'rfp_backbone', and 'aspp_out_channels'",
    "SSH": "missing 1 required positional argument: 'num_scales'",
    "YOLOV3Neck": "missing 1 required positional argument: 'num_scales'",
}
HEADS = {
    "RetinaHead": "RetinaNet",
    "FreeAnchorRetinaHead": "RetinaNet",
    "FSAFHead": "FSAF",
    "ATSSHead": "ATSS",
    "GFLHead": "GFL",
    "FCOSHead": "FCOS",
    "StandardRoIHead": "FasterRCNN",
    "CascadeRoIHead": "CascadeRCNN",
}
"""The detector of each whose settings are known; every other head is refused."""


def registered(room):
    MODELS.import_from_location()
    return {name for name, part in MODELS.module_dict.items() if part.__module__.startswith(f"mmdet.models.{room}")}


def runs(config):
    """Whether the detector builds and its heads take what comes before them."""
    with on_meta(), DefaultScope.overwrite_default_scope("mmdet"):
        detector = MODELS.build(config)
    detector.eval()
    with torch.no_grad():
        maps = detector.extract_feat(torch.empty(2, 3, 256, 256, device="meta"))
        (detector.bbox_head if hasattr(detector, "bbox_head") else detector.rpn_head)(maps)
    return True


def one_line(error, name):
    message = str(error)
    return "\n" not in message and name in message


def test_all_are_here():
    assert registered("backbones") == BACKBONES.keys() | REFUSED_BACKBONES.keys()
    assert registered("necks") == NECKS.keys() | REFUSED_NECKS.keys()


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_works(name):
    arguments, channels = BACKBONES[name]
    neck = {"type": "FPN", "out_channels": 16}
    config = assemble(backbone={"type": name, **arguments}, neck=neck, head="RetinaHead", num_classes=3)
    assert tuple(config.neck.in_channels) == channels
    assert config.bbox_head.anchor_generator.strides == [8, 16, 32, 64, 128]
    assert runs(config)


@pytest.mark.parametrize("name", REFUSED_BACKBONES)
def test_a_backbone_that_fits_no_pyramid_is_refused(name):
    arguments, reason = REFUSED_BACKBONES[name]
    with pytest.raises(ConfigError, match=reason) as caught:
        assemble(backbone={"type": name, **arguments}, neck="FPN", head="RetinaHead", num_classes=3)
    assert one_line(caught.value, name)


@pytest.mark.parametrize("name", sorted(name for name, (arguments, _) in BACKBONES.items() if "depth" in arguments))
def test_a_backbone_without_its_required_arguments_is_refused(name):
    with pytest.raises(ConfigError, match=r"refuses its arguments: .*missing .*'depth'") as caught:
        assemble(backbone=name, neck="FPN", head="RetinaHead", num_classes=3)
    assert one_line(caught.value, name)


def test_a_backbone_of_mmsegmentation_works():
    from mmseg.models.backbones import MixVisionTransformer

    mit = {"type": MixVisionTransformer, "embed_dims": 8, "num_layers": [1, 1, 1, 1]}
    config = assemble(backbone=mit, neck={"type": "FPN", "out_channels": 16}, head="RetinaHead", num_classes=3)
    assert (config.backbone.type, config.neck.in_channels) == ("mmseg.MixVisionTransformer", [8, 16, 32, 64])
    assert runs(config)


@pytest.mark.parametrize("name", NECKS)
def test_a_neck_works(name):
    before, arguments = NECKS[name]
    neck = {"type": name, **arguments}
    necks = [{"type": "FPN", "out_channels": 16}, neck] if before == "FPN" else [{"out_channels": 16, **neck}]
    backbone = {**R18, "out_indices": (1,)} if before == "last" else R18
    config = assemble(backbone=backbone, neck=necks, head="RetinaHead", num_classes=3)
    assert config.bbox_head.in_channels == 16
    assert runs(config)


@pytest.mark.parametrize("name", REFUSED_NECKS)
def test_a_neck_that_says_too_little_is_refused(name):
    with pytest.raises(ConfigError, match=REFUSED_NECKS[name]) as caught:
        assemble(backbone=R18, neck=name, head="RetinaHead", num_classes=3)
    assert one_line(caught.value, name)


@pytest.mark.parametrize("name", sorted(registered("dense_heads") | registered("roi_heads.")))
def test_a_head_has_its_own_settings_or_none(name):
    if name in HEADS:
        config = assemble(backbone=R18, neck={"type": "FPN", "out_channels": 16}, head=name, num_classes=3)
        assert config.type == f"mmdet.{HEADS[name]}"
        assert runs(config)
        return
    with pytest.raises(
        ConfigError, match=rf"no published settings of {name} .*knows RetinaHead, .*CascadeRoIHead"
    ) as e:
        assemble(backbone=R18, neck="FPN", head=name, num_classes=3)
    assert one_line(e.value, name)


def test_a_derived_head_says_which_settings_it_takes():
    from mmdet.models import RetinaHead

    class Mine(RetinaHead):
        """Another method, until it says otherwise."""

    class Known(Mine):
        recipe = "ATSSHead"

    class Child(Known):
        """What a parent says does not count either."""

    with pytest.raises(ConfigError, match="no published settings of Mine"):
        assemble(backbone=R18, neck="FPN", head=Mine, num_classes=3)
    assert assemble(backbone=R18, neck="FPN", head=Known, num_classes=3).type == "mmdet.ATSS"
    with pytest.raises(ConfigError, match="no published settings of Child"):
        assemble(backbone=R18, neck="FPN", head=Child, num_classes=3)
