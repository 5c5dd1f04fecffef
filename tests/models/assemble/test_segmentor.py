"""assemble() with a segmentation head: what it fills in, what runs, and what it refuses."""

import logging
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from densekit.errors import ConfigError
from densekit.models.assemble import assemble
from densekit.registry import MODELS
from densekit.structures.label_images import IGNORED

R18 = {"type": "ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
DDRNET = {"type": "DDRNet", "channels": 8, "ppm_channels": 8, "init_cfg": None}
SMALL = {
    "fcn": {"channels": 8},
    "psp": {"channels": 8},
    "deeplabv3plus": {"channels": 8},
    "ocr": {"channels": 8, "ocr_channels": 8},
    "upernet": {"channels": 8},
    "semantic_fpn": {"channels": 8},
    "segformer": {"channels": 8},
    "segnext": {"channels": 32, "ham_channels": 32},
    "vwformer": {"preset": "paper", "width": 64, "channels": 8},
    "linear": {},
    "mask2former": {
        "num_queries": 5,
        "transformer_decoder": {"num_layers": 1},
        "pixel_decoder": {"encoder": {"num_layers": 1}},
        "train_cfg": {"num_points": 64},
    },
}


def stock(path):
    """The model of one of MMSegmentation's own configs."""
    return Config.fromfile(Path(mmseg.__file__).parent / ".mim" / "configs" / "_base_" / "models" / path).model


def small(head, **options):
    return {"type": head, **SMALL[head], **options}


VIT = {"type": "TimmBackbone", "name": "vit_tiny_patch16_224", "args": {"img_size": 64}}


def run(model, channels=3, side=64):
    """One step of training and a prediction of two images: losses, parameters without gradient, label images."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        network = MODELS.build(model)
        images = [torch.randint(0, 256, (channels, side, side), dtype=torch.uint8) for _ in range(2)]
        labels = torch.randint(0, 4, (1, side, side))
        labels[:, : side // 4] = IGNORED
        samples = [SegDataSample(metainfo={"ori_shape": (50, 70)}, gt_sem_seg=PixelData(data=labels)) for _ in images]
        batch = network.data_preprocessor({"inputs": images, "data_samples": samples}, training=True)
        losses = network.loss(**batch)
        network.parse_losses(losses)[0].backward()
        unused = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        with torch.no_grad():
            batch = network.eval().data_preprocessor({"inputs": images, "data_samples": samples})
            found = network.predict(**batch)
    return losses, unused, [sample.pred_sem_seg.data for sample in found]


# --- what is filled in ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("fcn_r50-d8.py", "FCNHead"),
        ("pspnet_r50-d8.py", "PSPHead"),
        ("deeplabv3plus_r50-d8.py", "DepthwiseSeparableASPPHead"),
        ("ocrnet_r50-d8.py", "OCRHead"),
        ("upernet_r50.py", "UPerHead"),
        ("fpn_r50.py", "FPNHead"),
    ],
)
def test_with_names_alone_the_heads_are_those_of_the_stock_config(path, head):
    ours, theirs = assemble(backbone="resnet50", head=head, num_classes=19), stock(path)
    for role in ("decode_head", "auxiliary_head", "neck"):
        both = [config.get(role) for config in (ours, theirs)]
        both = [one if isinstance(one, list) else [] if one is None else [one] for one in both]
        assert [len(one) for one in both] == [len(both[0])] * 2
        for mine, stocks in zip(*both, strict=True):
            mine, stocks = mine.to_dict(), stocks.to_dict()
            mine["type"] = mine["type"].rpartition(".")[2]
            for one in (mine, stocks):  # said in their own tests
                one.pop("norm_cfg", None)
                one.get("loss_decode", {}).pop("avg_non_ignore", None)
            # Defaults of the neck, written out.
            assert mine.pop("start_level", 0) == 0
            assert {k: list(v) if isinstance(v, tuple) else v for k, v in mine.items()} == {
                k: list(v) if isinstance(v, tuple) else v for k, v in stocks.items()
            }
    for key in ("strides", "dilations"):
        assert ours.backbone.get(key, theirs.backbone[key]) == theirs.backbone[key]
    assert ours.type == f"densekit.{theirs.type.replace('EncoderDecoder', 'SemanticSegmentor')}"


def test_mask2former_is_that_of_the_stock_config():
    ours = assemble(backbone="resnet50", head="mask2former", num_classes=150).decode_head
    path = "../../mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py"
    differences = set()

    def compare(ours, theirs, where=""):
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in {*ours, *theirs}:
                compare(ours.get(key), theirs.get(key), f"{where}.{key}")
        elif ours != theirs:
            differences.add(where)

    compare(ours.to_dict(), stock(path).decode_head.to_dict())
    defaults = {"init_cfg", "im2col_step", "norm_cfg", "dropout_layer", "add_identity"}
    assert {where for where in differences if where.rpartition(".")[2] not in defaults} == {".type"}


@pytest.mark.parametrize(("backbone", "segformer", "vwformer"), [("mit_b1", 256, 128), ("mit_b2", None, None)])
def test_decoders_behind_a_mit_are_as_wide_as_published(backbone, segformer, vwformer):
    assert assemble(backbone=backbone, head="segformer", num_classes=4).decode_head.get("channels") == segformer
    head = assemble(backbone=backbone, head="vwformer", num_classes=4).decode_head
    assert (head.preset, head.get("width")) == ("paper", vwformer)
    assert assemble(backbone=R18, head="vwformer", num_classes=4).decode_head.preset == "ade"
    given = {"type": "segformer", "channels": 32}
    assert assemble(backbone=backbone, head=given, num_classes=4).decode_head.channels == 32


def test_heads_on_a_plain_transformer_take_its_last_blocks_or_some_of_all_depths():
    linear, dpt = (assemble(backbone=VIT, head=head, num_classes=4, pretrained=False) for head in ("linear", "dpt"))
    assert linear.backbone.out_indices == [8, 9, 10, 11]
    assert dpt.backbone.out_indices == [2, 5, 8, 11]
    assert dpt.decode_head.in_channels == [192] * 4


def test_images_are_normalised_as_the_backbone_was_trained():
    plain = assemble(backbone="resnet50", head="fcn", num_classes=4).data_preprocessor
    assert (plain.type, plain.bgr_to_rgb, plain.seg_pad_val, plain.size) == (
        "mmseg.SegDataPreProcessor",
        True,
        255,
        None,
    )
    assert plain.mean == [123.675, 116.28, 103.53]
    five = assemble(backbone=R18, head=small("fcn"), num_classes=4, in_channels=5).data_preprocessor
    assert (len(five.mean), len(five.std), five.bgr_to_rgb) == (5, 5, False)


def test_nothing_is_frozen_unless_the_config_says_so():
    backbone = assemble(backbone="resnet50", head="fcn", num_classes=4).backbone
    assert (backbone.frozen_stages, backbone.norm_eval) == (-1, False)
    assert backbone.init_cfg.checkpoint == "torchvision://resnet50"
    given = {"type": "resnet50", "frozen_stages": 2, "norm_eval": True}
    backbone = assemble(backbone=given, head="fcn", num_classes=4).backbone
    assert (backbone.frozen_stages, backbone.norm_eval) == (2, True)


def test_maps_finer_than_stride_four_are_left_out():
    config = assemble(backbone="tf_efficientnet_lite0", head="deeplabv3plus", num_classes=4, pretrained=False)
    assert config.backbone.out_indices == [1, 2, 3, 4]
    assert (config.decode_head.c1_in_channels, config.decode_head.in_channels) == (24, 320)


def test_a_backbone_without_a_dilated_form_is_told(caplog):
    with caplog.at_level(logging.INFO, "densekit"):
        assemble(backbone="swin_tiny_patch4_window7_224", head="psp", num_classes=4, pretrained=False)
    assert caplog.messages == [
        "PSPHead: published on a map of stride 8, it gets one of stride 32: swin_tiny_patch4_window7_224 has no "
        "dilated form"
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO, "densekit"):
        config = assemble(backbone="resnet18.tv_in1k", head="psp", num_classes=4, pretrained=False)
    assert not caplog.messages
    assert config.decode_head.in_index == 3


def test_behind_a_neck_a_head_of_one_map_takes_the_one_of_its_stride():
    config = assemble(backbone=R18, neck={"type": "FPN", "out_channels": 8}, head=small("fcn"), num_classes=4)
    assert (config.decode_head.in_index, config.auxiliary_head.in_index) == (1, 0)
    assert "dilations" not in config.backbone


def test_the_heads_of_a_cascade_take_maps_of_one_size():
    dilated = assemble(backbone=R18, head="ocr", num_classes=4)
    behind = assemble(backbone=R18, neck="FPN", head="ocr", num_classes=4)
    assert [head.in_index for head in dilated.decode_head] == [2, 3]
    assert [head.in_index for head in behind.decode_head] == [1, 1]


def test_the_auxiliary_head_is_put_over_or_left_out():
    given = {"loss_decode": {"loss_weight": 0.2}}
    config = assemble(backbone=R18, head=small("upernet"), num_classes=4, auxiliary_head=given)
    assert config.auxiliary_head.loss_decode.loss_weight == 0.2
    assert config.auxiliary_head.channels == 256
    assert "auxiliary_head" not in assemble(backbone=R18, head="upernet", num_classes=4, auxiliary_head=False)
    assert "auxiliary_head" not in assemble(backbone=R18, head="segformer", num_classes=4)
    assert assemble(backbone=R18, head="segformer", num_classes=4, auxiliary_head=True).auxiliary_head.in_index == 2


# --- what runs --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("head", SMALL)
def test_every_method_trains_and_predicts_in_the_images_own_size(head):
    losses, unused, found = run(assemble(backbone=R18, head=small(head), num_classes=4))
    assert not unused
    assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values())
    assert [(label.shape, label.dtype) for label in found] == [((1, 50, 70), torch.uint8)] * 2


def test_dpt_trains_on_a_plain_transformer():
    head = {"type": "dpt", "channels": 8, "post_process_channels": [8, 8, 8, 8]}
    _, unused, found = run(assemble(backbone=VIT, head=head, num_classes=4, pretrained=False))
    assert not unused
    assert found[0].shape == (1, 50, 70)


@pytest.mark.filterwarnings("error:.*binary segmentation")
def test_two_classes_have_a_logit_each():
    config = assemble(backbone=R18, head=small("fcn"), num_classes=2)
    assert (config.decode_head.out_channels, config.auxiliary_head.out_channels) == (2, 2)


def test_ddrnet_trains_both_branches():
    losses, unused, found = run(assemble(backbone=DDRNET, head={"type": "ddrnet", "channels": 8}, num_classes=4))
    assert not unused
    assert {"decode.loss_context", "decode.loss_spatial"} <= set(losses)
    assert found[0].shape == (1, 50, 70)


@pytest.mark.parametrize("channels", [1, 5])
def test_images_of_other_channels(channels):
    model = assemble(backbone=R18, head=small("segformer"), num_classes=4, in_channels=channels)
    assert not run(model, channels)[1]


# --- what is refused --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"backbone": {**R18, "out_indices": (1, 2, 3)}, "head": "segformer"},
            r"ResNet -> SegformerPaperHead: ResNet gives 3 maps of strides \(8, 16, 32\), SegformerPaperHead takes "
            r"4 maps of halving sizes; what fits ResNet is FCNHead, ",
        ),
        (
            {"backbone": R18, "neck": ["FPN", {"type": "SEPC", "with_lc_convs": True}], "head": "upernet"},
            r"SEPC -> UPerHead: SEPC gives a pair of maps per level, UPerHead takes one; what fits is SEPC with "
            r"with_lc_convs=False",
        ),
        (
            {"backbone": VIT, "head": "upernet", "pretrained": False},
            r"TimmBackbone -> UPerHead: .* maps of strides \(16, 16, 16\), .* LinearHead, SingleStrideDPTHead",
        ),
        (
            {"backbone": R18, "head": "dpt"},
            r"ResNet -> SingleStrideDPTHead: .* takes 4 maps of one stride, as plain transformers give them; what fits",
        ),
        ({"backbone": R18, "head": "ddrnet"}, r"ResNet -> DDRHead: DDRHead takes the branches of DDRNet alone"),
        ({"backbone": DDRNET, "head": "fcn"}, r"DDRNet -> FCNHead: .*DDRHead alone takes"),
        ({"backbone": "dformer", "head": "fcn"}, r"DFormer -> FCNHead: the first works on 3D data"),
        ({"backbone": R18, "head": "fcn", "rpn_head": "RPNHead"}, r"^rpn_head: a model with FCNHead does not take it"),
        ({"backbone": R18, "head": "RetinaHead", "auxiliary_head": False}, r"^auxiliary_head: .* RetinaHead"),
        ({"backbone": R18, "head": "segfomer"}, r"head: 'segfomer' is no part of .*; did you mean 'segformer'"),
        ({"backbone": R18, "head": "EncHead"}, r"head: there are no published settings of EncHead"),
        (
            {"backbone": R18, "head": {"type": "segnext", "channels": 8}},
            r"LightHamHead refuses its arguments: num_channels \(8\) must be divisible by num_groups",
        ),
        ({"backbone": R18, "head": "fcn", "num_classes": 1}, r"num_classes=1: FCNHead tells classes from each other"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_both(given, message):
    with pytest.raises(ConfigError, match=message):
        assemble(**{"num_classes": 4, **given})
