"""assemble(): what it fills in, that any registry builds it, and what it refuses."""

import json

import pytest
import torch
from mmdet.registry import MODELS as THEIRS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from densekit.errors import ConfigError
from densekit.models.assemble import assemble, model_config
from densekit.registry import MODELS

R18 = {"type": "ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
ONE_STAGE = ["RetinaHead", "FreeAnchorRetinaHead", "FSAFHead", "ATSSHead", "GFLHead", "FCOSHead"]


def strides_of(head):
    return head["strides"] if "strides" in head else head["anchor_generator"]["strides"]


def stock(path):
    """The model of a stock MMDetection config."""
    from pathlib import Path

    import mmdet

    return Config.fromfile(Path(mmdet.__file__).parent / ".mim" / "configs" / path).model.to_dict()


# --- what is filled in ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("retinanet/retinanet_r50_fpn_1x_coco.py", "RetinaHead"),
        ("free_anchor/freeanchor_r50_fpn_1x_coco.py", "FreeAnchorRetinaHead"),
        ("fsaf/fsaf_r50_fpn_1x_coco.py", "FSAFHead"),
        ("atss/atss_r50_fpn_1x_coco.py", "ATSSHead"),
        ("gfl/gfl_r50_fpn_1x_coco.py", "GFLHead"),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", "StandardRoIHead"),
        ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", {"type": "StandardRoIHead", "mask_head": "FCNMaskHead"}),
        ("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py", "CascadeRoIHead"),
        (
            "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
            {"type": "CascadeRoIHead", "mask_head": "FCNMaskHead"},
        ),
    ],
)
def test_with_names_alone_it_is_the_stock_config(path, head):
    found = assemble(backbone="resnet50", neck="FPN", head=head, num_classes=80).to_dict()
    differences = {}

    def compare(ours, theirs, where):
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in {*ours, *theirs}:
                compare(ours.get(key), theirs.get(key), f"{where}.{key}")
        elif isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)) and len(ours) == len(theirs):
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                compare(a, b, f"{where}.{i}")
        elif str(ours).removeprefix("mmdet.") != str(theirs) and ours != theirs:
            differences[where] = (ours, theirs)

    compare(found, stock(path), "model")
    # Defaults of the parts, written out on one side only.
    defaults = {"start_level": 0, "add_extra_convs": False, "relu_before_extra_convs": False, "stacked_convs": 4,
                "feat_channels": 256, "roi_feat_size": 14, "pad_mask": True, "mask_size": 28, "gamma": 2.0}  # fmt: skip
    for where, (ours, theirs) in list(differences.items()):
        key = where.rpartition(".")[2]
        if key in defaults and {ours, theirs} == {None, defaults[key]}:
            del differences[where]
    # A list of three mask heads is written out where assemble() gives the one that all stages share.
    differences = {k: v for k, v in differences.items() if ".mask_head" not in k or "cascade-mask" not in path}
    assert not differences


@pytest.mark.parametrize("head", [*ONE_STAGE, "StandardRoIHead", "CascadeRoIHead"])
def test_channels_and_strides_follow_the_backbone(head):
    two_stage = head.endswith("RoIHead")
    config = assemble(backbone=R18, neck={"type": "FPN", "out_channels": 24}, head=head, num_classes=7)
    assert config.neck.in_channels == [8, 16, 32, 64]
    assert config.neck.start_level == (0 if two_stage else 1)
    first = config.rpn_head if two_stage else config.bbox_head
    assert first.in_channels == 24
    assert strides_of(first) == ([4, 8, 16, 32, 64] if two_stage else [8, 16, 32, 64, 128])
    if two_stage:
        assert config.roi_head.bbox_roi_extractor.featmap_strides == [4, 8, 16, 32]
        assert config.roi_head.bbox_roi_extractor.out_channels == 24
    heads = config.roi_head.bbox_head if two_stage else config.bbox_head
    assert all(h["num_classes"] == 7 for h in (heads if isinstance(heads, list) else [heads]))


def test_fewer_maps_of_the_backbone_begin_the_pyramid_at_the_same_stride():
    for maps in ((0, 1, 2, 3), (1, 2, 3)):
        config = assemble(backbone={**R18, "out_indices": maps}, neck="FPN", head="RetinaHead", num_classes=3)
        assert config.neck.start_level == maps.index(1)
        assert strides_of(config.bbox_head) == [8, 16, 32, 64, 128]


def test_start_level_by_hand_moves_the_whole_pyramid():
    config = assemble(
        backbone=R18, neck={"type": "FPN", "start_level": 0, "num_outs": 4}, head="ATSSHead", num_classes=3
    )
    assert strides_of(config.bbox_head) == [4, 8, 16, 32]


def test_what_is_given_stays():
    config = assemble(
        backbone={**R18, "frozen_stages": 2},
        neck={"type": "FPN", "add_extra_convs": "on_output"},
        head={"type": "RetinaHead", "loss_bbox": {"type": "SmoothL1Loss", "beta": 0.11}, "loss_cls": {"gamma": 1.5}},
        num_classes=3,
        test_cfg={"nms": {"iou_threshold": 0.4}},
        data_preprocessor={"pad_size_divisor": 64},
    )
    assert config.backbone.frozen_stages == 2
    assert config.neck.add_extra_convs == "on_output"
    assert config.bbox_head.loss_bbox == {"type": "SmoothL1Loss", "beta": 0.11}  # another type replaces the whole
    assert (config.bbox_head.loss_cls.gamma, config.bbox_head.loss_cls.alpha) == (1.5, 0.25)  # the same is completed
    assert (config.test_cfg.nms.iou_threshold, config.test_cfg.score_thr) == (0.4, 0.05)
    assert (config.data_preprocessor.pad_size_divisor, config.data_preprocessor.bgr_to_rgb) == (64, True)


def test_a_resnet_from_scratch_freezes_nothing():
    scratch = assemble(
        backbone={"type": "ResNet", "depth": 18, "init_cfg": None}, neck="FPN", head="RetinaHead", num_classes=3
    )
    assert (scratch.backbone.frozen_stages, scratch.backbone.norm_eval, scratch.backbone.init_cfg) == (-1, False, None)
    tuned = assemble(backbone="resnet18", neck="FPN", head="RetinaHead", num_classes=3)
    assert (tuned.backbone.frozen_stages, tuned.backbone.norm_eval) == (1, True)
    assert tuned.backbone.init_cfg.checkpoint == "torchvision://resnet18"


def test_extra_levels_are_those_of_the_detector():
    for head, source in (("RetinaHead", "on_input"), ("ATSSHead", "on_output"), ("StandardRoIHead", False)):
        assert assemble(backbone=R18, neck="FPN", head=head, num_classes=3).neck.add_extra_convs == source
    for head, extra in (("GFLHead", True), ("StandardRoIHead", False)):
        assert assemble(backbone=R18, neck="RCFPN", head=head, num_classes=3).neck.extra_convs is extra


def test_sepc_with_two_stages_is_the_plain_convolution():
    config = assemble(backbone=R18, neck=["FPN", "SEPC"], head="StandardRoIHead", num_classes=3)
    assert config.neck[1] == {
        "type": "densekit.SEPC", "in_channels": 256, "out_channels": 256, "num_levels": 5,
        "ibn": False, "pconv_deform": False, "lcconv_deform": False, "with_lc_convs": False,
    }  # fmt: skip


def test_heads_of_panet_get_regions_from_all_levels():
    head = {"type": "StandardRoIHead", "bbox_head": "PANetConv4FCBBoxHead", "mask_head": {"type": "PANetMaskHead"}}
    config = assemble(backbone=R18, neck="PANetNeck", head=head, num_classes=3)
    assert config.type == "mmdet.MaskRCNN"
    for task, size in (("bbox", 7), ("mask", 14)):
        assert config.roi_head[f"{task}_roi_extractor"].type == "densekit.AllLevelRoIExtractor"
        assert config.roi_head[f"{task}_head"].num_levels == 4
        assert config.roi_head[f"{task}_head"].roi_feat_size == size
    assert config.train_cfg.rcnn.mask_size == 28 and config.data_preprocessor.pad_mask


def test_necks_of_mmdetection_are_wired_too():
    config = assemble(backbone=R18, neck=["FPN", {"type": "BFP", "num_levels": 5}], head="RetinaHead", num_classes=3)
    assert config.neck[1].in_channels == 256
    config = assemble(backbone=R18, neck=["FPN", {"type": "DyHead", "num_blocks": 1}], head="ATSSHead", num_classes=3)
    assert (config.neck[1].in_channels, config.neck[1].out_channels) == (256, 256)


def test_timm_backbones_say_themselves_what_they_give():
    config = assemble(backbone="convnext_pico", neck="FPN", head="GFLHead", num_classes=3)
    assert config.backbone == {"type": "densekit.TimmBackbone", "name": "convnext_pico", "pretrained": True}
    assert (config.neck.in_channels, config.neck.start_level) == ([64, 128, 256, 512], 1)
    vit = {"type": "TimmBackbone", "name": "efficientnet_b0"}
    config = assemble(backbone=vit, neck="RCFPN", head="GFLHead", num_classes=3)
    assert (config.neck.in_channels, config.neck.start_level) == ([16, 24, 40, 112, 320], 2)


def test_images_are_normalised_as_the_backbone_was_trained():
    config = assemble(
        backbone="vit_tiny_patch16_224", neck={"type": "FPN", "start_level": 0}, head="ATSSHead", num_classes=3
    )
    assert config.data_preprocessor.mean == config.data_preprocessor.std == [127.5, 127.5, 127.5]
    assert strides_of(config.bbox_head)[0] == 16


def test_parts_for_volumes():
    config = assemble(
        backbone={
            "type": "DFormer",
            "widths": (8, 16, 32),
            "depths": (2, 2, 2),
            "heads": (1, 2, 4),
            "patch": (1, 2, 2),
        },
        neck={"type": "DFormerDecoder", "depths": (2, 2), "heads": (1, 2)},
        head={"type": "PatchExpandingHead", "deep_supervision": 2},
        num_classes=5,
    )
    assert config.neck.in_channels == (8, 16, 32) and config.neck.patch == (1, 2, 2)
    assert (config.head.in_channels, config.head.patch, config.head.num_classes) == ((8, 16), (1, 2, 2), 5)
    model = MODELS.build(config)
    assert model.predict_logits(torch.zeros(1, 1, 8, 16, 16)).shape == (1, 5, 8, 16, 16)


def test_a_whole_network_for_volumes_needs_no_neck():
    network = {"type": "MonaiNetwork", "name": "UNet", "args": {"channels": [4, 8], "strides": [2]}}
    config = assemble(backbone=network, head="LogitsHead", num_classes=3)
    assert "neck" not in config and config.backbone.num_classes == 3
    MODELS.build(config)


# --- that it is an ordinary config ------------------------------------------------------------------------------------
def test_it_is_plain_data_and_the_same_after_writing_and_reading():
    from mmdet.models import FPN, FocalLoss, RetinaHead

    head = {"type": RetinaHead, "loss_cls": {"type": FocalLoss, "use_sigmoid": True}}
    config = assemble(backbone=R18, neck=[FPN], head=head, num_classes=3)
    again = json.loads(json.dumps(config))
    assert again["bbox_head"]["type"] == "mmdet.RetinaHead"
    assert again["bbox_head"]["loss_cls"]["type"] == "mmdet.FocalLoss"
    assert Config({"model": again}).pretty_text


@pytest.mark.parametrize("scope", [None, "mmdet"])
def test_both_registries_build_it(scope):
    config = assemble(backbone=R18, neck=["FPN", "SEPC"], head="SEPCATSSHead", num_classes=3)
    if scope:
        DefaultScope.get_instance(f"both registries {scope}", scope_name=scope)
    with torch.device("meta"):
        models = [registry.build(config) for registry in (MODELS, THEIRS)]
    assert all(type(m).__module__ == "mmdet.models.detectors.atss" for m in models)


# --- what it refuses --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"backbone": "DFormer", "neck": "FPN", "head": "RetinaHead"},
            r"DFormer -> FPN: the first works on 3D data, the second on 2D; 3D necks are DFormerDecoder, and 2D "
            r"backbones are CASViT, .*ResNet, .*TimmBackbone",
        ),
        (
            {"backbone": R18, "neck": "DFormerDecoder", "head": "RetinaHead"},
            r"ResNet -> DFormerDecoder: .*2D necks are FPN, PAFPN, PANetNeck, RCFPN, SEPC",
        ),
        ({"backbone": R18, "neck": "FPN", "head": "LogitsHead"}, r"ResNet -> LogitsHead: .*2D heads are RetinaHead"),
        ({"backbone": R18, "neck": "SEPC", "head": "RetinaHead"}, r"ResNet -> SEPC: .*put an FPN between the two"),
        ({"backbone": R18, "head": "RetinaHead"}, r"ResNet -> RetinaHead: .*put an FPN between the two"),
        (
            {"backbone": R18, "neck": ["FPN", "SEPC"], "head": "RetinaHead"},
            r"SEPC -> RetinaHead: .*what fits is SEPCRetinaHead",
        ),
        (
            {"backbone": R18, "neck": "FPN", "head": "SEPCGFLHead"},
            r"FPN -> SEPCGFLHead: .*what fits FPN is GFLHead",
        ),
        (
            {"backbone": R18, "neck": ["FPN", {"type": "SEPC", "with_lc_convs": True}], "head": "StandardRoIHead"},
            r"SEPC -> StandardRoIHead: .*what fits is SEPC with with_lc_convs=False",
        ),
        (
            {"backbone": {**R18, "out_indices": (2, 3)}, "neck": "FPN", "head": "GFLHead"},
            r"ResNet -> GFLHead: ResNet gives maps of strides \(16, 32\), the pyramid of GFLHead begins at stride 8",
        ),
        (
            {"backbone": {**R18, "out_indices": (3,)}, "head": "StandardRoIHead",
             "neck": {"type": "ChannelMapper", "num_outs": 1, "out_channels": 8}},
            r"ChannelMapper -> StandardRoIHead: ChannelMapper gives one level \(stride 32\), too few",
        ),
        (
            {"backbone": R18, "neck": {"type": "FPN", "num_outs": 4}, "head": "FCOSHead"},
            r"FPN -> FCOSHead: FPN gives 4 levels, FCOSHead has 5 regress_ranges",
        ),
        (
            {"backbone": R18, "neck": {"type": "RCFPN", "num_outs": 4}, "head": "GFLHead"},
            r"RCFPN refuses|RCFPN: 3 of 4 maps.*num_outs=4; it makes exactly 5 levels",
        ),
        (
            {"backbone": R18, "neck": {"type": "FPN", "in_channels": [1, 2, 3, 4]}, "head": "GFLHead"},
            r"FPN does not run on what it is given \(ResNet: channels \(8, 16, 32, 64\), strides \(4, 8, 16, 32\)\)",
        ),
        (
            {"backbone": R18, "neck": "FPN", "head": {"type": "StandardRoIHead", "bbox_head": "PANetShared2FCBBoxHead",
             "bbox_roi_extractor": "SingleRoIExtractor"}},
            r"SingleRoIExtractor -> PANetShared2FCBBoxHead: .*what fits is AllLevelRoIExtractor",
        ),
        (
            {"backbone": R18, "neck": "FPN", "head": {"type": "StandardRoIHead", "bbox_roi_extractor":
             "AllLevelRoIExtractor"}},
            r"AllLevelRoIExtractor -> Shared2FCBBoxHead: .*what fits is SingleRoIExtractor",
        ),
        (
            {"backbone": "DFormer", "neck": ["DFormerDecoder", "DFormerDecoder"], "head": "PatchExpandingHead"},
            r"VolumeSegmentor takes one neck, these are 2",
        ),
        ({"backbone": "DFormer", "head": "LogitsHead"}, r"DFormer -> LogitsHead: .*set LogitsHead to \(96,\)"),
        ({"backbone": R18, "neck": "FPNN", "head": "GFLHead"}, r"neck: 'FPNN' is no part.*did you mean 'FPN'"),
        ({"backbone": R18, "neck": {"type": "FPN", "num_out": 4}, "head": "GFLHead"},
         r"no argument 'num_out'; did you mean 'num_outs'"),
        ({"backbone": R18, "neck": {"num_outs": 4}, "head": "GFLHead"}, r"neck: a part needs a type"),
        ({"backbone": R18, "neck": "FPN", "head": {"type": "GFLHead", "reg_maxx": 4}},
         r"no argument 'reg_maxx'; did you mean 'reg_max'"),
        ({"backbone": R18, "neck": "FPN", "head": {"type": "GFLHead", "num_classes": 4}},
         r"num_classes=4, but the model is to have 3"),
        ({"backbone": R18, "neck": "FPN", "head": "YOLOXHead"}, r"no published settings of YOLOXHead"),
        ({"backbone": R18, "neck": "FPN", "head": "GFLHead", "rpn_head": {}},
         r"rpn_head: GFLHead is the head of a one-stage"),
        ({"backbone": "resnet19", "neck": "FPN", "head": "GFLHead"}, r"backbone: 'resnet19' is no part"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused_by_name(parts, message):
    with pytest.raises(ConfigError, match=message):
        assemble(num_classes=3, **parts)


@pytest.mark.parametrize(
    ("head", "settings", "message"),
    [
        ("RetinaHead", {"test_cfg": {"max_per_imgg": 300}},
         r"test_cfg: nothing reads 'max_per_imgg' there with RetinaHead; did you mean 'max_per_img'"),
        ("RetinaHead", {"test_cfg": {"rcnn": {}}}, r"test_cfg: nothing reads 'rcnn' there.*known: nms_pre, min_bbox"),
        ("RetinaHead", {"train_cfg": {"asigner": {"pos_iou_thr": 0.4}}}, r"train_cfg: .*did you mean 'assigner'"),
        ("RetinaHead", {"train_cfg": {"assigner": {"pos_iou": 0.4}}},
         r"train_cfg.assigner: MaxIoUAssigner takes no argument 'pos_iou'; did you mean .*'pos_iou_thr'"),
        ("RetinaHead", {"train_cfg": {"assigner": {"type": "ATSSAsigner"}}},
         r"train_cfg.assigner: 'ATSSAsigner' is no assigner .*did you mean 'ATSSAssigner'"),
        ("RetinaHead", {"test_cfg": {"nms": {"iou_thresold": 0.4}}},
         r"test_cfg.nms: nms config: nms takes no 'iou_thresold'; did you mean 'iou_threshold'"),
        ("ATSSHead", {"train_cfg": {"sampler": {"num": 4}}}, r"train_cfg.sampler: a part needs a type"),
        ("FCOSHead", {"train_cfg": {"pos_weight": 1}}, r"train_cfg: nothing reads 'pos_weight' there.*leave it out"),
        ("StandardRoIHead", {"test_cfg": {"score_thr": 0.001, "max_per_img": 300}},
         r"test_cfg: nothing reads 'score_thr' there.*; it belongs in test_cfg.rcnn.score_thr$"),
        ("StandardRoIHead", {"test_cfg": {"max_per_img": 300}},
         r"it belongs in test_cfg.rpn.max_per_img or test_cfg.rcnn.max_per_img"),
        ("StandardRoIHead", {"train_cfg": {"rcnn": {"num": 64}}},
         r"train_cfg.rcnn: nothing reads 'num' .*it belongs in train_cfg.rcnn.sampler.num"),
        ("StandardRoIHead", {"train_cfg": {"rcnn": {"sampler": {"numm": 64}}}},
         r"train_cfg.rcnn.sampler: RandomSampler takes no argument 'numm'; did you mean 'num'"),
        ("CascadeRoIHead", {"train_cfg": {"rcnn": {"asigner": {}}}}, r"train_cfg.rcnn: .*did you mean 'assigner'"),
        ("CascadeRoIHead", {"train_cfg": {"rcnn": [{}, {}]}},
         r"train_cfg.rcnn: it is a list of 2, CascadeRoIHead has 3 stages"),
        ({"type": "CascadeRoIHead", "num_stages": 2}, {}, r"head: the number of stages in num_stages is 2, .*it 3"),
        ({"type": "CascadeRoIHead", "bbox_head": [{}, {}]}, {}, r"head: the number of stages in bbox_head is 2"),
        ({"type": "StandardRoIHead", "bbox_head": [{}, {}]}, {}, r"stages in bbox_head is 2, .*make it 1"),
    ],
)  # fmt: skip
def test_settings_that_nothing_reads_are_refused(head, settings, message):
    with pytest.raises(ConfigError, match=message):
        assemble(backbone=R18, neck="FPN", head=head, num_classes=3, **settings)


@pytest.mark.parametrize(
    ("head", "rpn_head", "settings"),
    [
        ("ATSSHead", None, {"train_cfg": {"sampler": {"type": "PseudoSampler"}}}),
        ("FCOSHead", None, {"test_cfg": {"nms": {"type": "soft_nms", "sigma": 0.3}}}),
        ("SEPCGFLHead", None, {"test_cfg": {"nms": None}}),
        ("StandardRoIHead", None, {"train_cfg": {"rcnn": {"sampler": {"rng": 0}}}}),
        ("StandardRoIHead", "RetinaHead", {"test_cfg": {"rpn": {"score_thr": 0.1}}}),  # RPNHead reads none
        ({"type": "StandardRoIHead", "mask_head": "FCNMaskHead"}, None,
         {"train_cfg": {"rcnn": {"soft_mask_target": True}}, "test_cfg": {"rcnn": {"mask_thr_binary": 0.4}}}),
        ("CascadeRoIHead", None, {"train_cfg": {"rcnn": {"sampler": {"num": 64}}}}),
    ],
)  # fmt: skip
def test_settings_that_something_reads_are_put_over_the_published_ones(head, rpn_head, settings):
    necks = ["FPN", "SEPC"] if head == "SEPCGFLHead" else "FPN"
    config = assemble(backbone=R18, neck=necks, head=head, rpn_head=rpn_head, num_classes=3, **settings)

    def check(given, found):
        for each in found if isinstance(found, list) else [found]:
            if isinstance(given, dict):
                for key in given:
                    check(given[key], each[key])
            else:
                assert each == given

    check(settings, config)


def test_mask_heads_of_a_cascade_one_by_one():
    heads = [{"type": "FCNMaskHead", "num_convs": number} for number in (1, 2, 3)]
    config = assemble(
        backbone=R18, neck="FPN", head={"type": "CascadeRoIHead", "mask_head": heads}, num_classes=7
    ).roi_head
    assert [head.num_convs for head in config.mask_head] == [1, 2, 3]
    assert all((head.num_classes, head.conv_out_channels) == (7, 256) for head in config.mask_head)
    assert [head.reg_class_agnostic for head in config.bbox_head] == [True] * 3


# --- whole configs ----------------------------------------------------------------------------------------------------
def test_masks_of_things_get_the_classes_of_the_data():
    model = stock("mask2former/mask2former_r50_8xb2-lsj-50e_coco.py")
    config = model_config(model, 3)
    head, fusion = config.panoptic_head, config.panoptic_fusion_head
    assert (head.num_things_classes, head.num_stuff_classes, fusion.num_things_classes) == (3, 0, 3)
    assert head.loss_cls.class_weight == [1.0, 1.0, 1.0, 0.1]
    with torch.device("meta"), DefaultScope.overwrite_default_scope("mmdet"):
        assert THEIRS.build(config).panoptic_head.cls_embed.out_features == 4
    assert model_config(model, 80).panoptic_head == model["panoptic_head"]


def test_weights_of_classes_by_hand_stay_or_are_refused():
    model = stock("mask2former/mask2former_r50_8xb2-lsj-50e_coco.py")
    loss = model["panoptic_head"]["loss_cls"]
    loss["class_weight"] = [1.0, 2.0, 3.0, 0.1]  # those of the data already
    assert model_config(model, 3).panoptic_head.loss_cls.class_weight == loss["class_weight"]
    loss["class_weight"] = [2.0, *[1.0] * 79, 0.1]
    with pytest.raises(
        ConfigError, match=r"^model.panoptic_head.loss_cls.class_weight: .*80 classes, .* give 4 weights"
    ):
        model_config(model, 3)


def test_panoptic_models_are_refused():
    model = stock("mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py")
    with pytest.raises(ConfigError, match=r"^model.panoptic_head.num_stuff_classes=53: panoptic segmentation"):
        model_config(model, 3)


def test_settings_of_a_cascade_stage_by_stage_are_put_over_the_published_ones():
    weights = [{"pos_weight": weight} for weight in (1, 2, 3)]
    model = assemble(backbone="resnet18", neck="FPN", head="CascadeRoIHead", num_classes=3, train_cfg={"rcnn": weights})
    assert [stage.pos_weight for stage in model.train_cfg.rcnn] == [1, 2, 3]
    assert [stage.assigner.pos_iou_thr for stage in model.train_cfg.rcnn] == [0.5, 0.6, 0.7]
