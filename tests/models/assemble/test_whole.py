"""Whole configs of MMSegmentation: they become ours, with the counts of the data."""

from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config

from densekit.errors import ConfigError
from densekit.models.assemble import model_config


def stock(path):
    return Config.fromfile(Path(mmseg.__file__).parent / ".mim" / "configs" / path).model.to_dict()


def test_a_segmentor_of_mmsegmentation_becomes_ours_with_the_classes_of_the_data():
    config = model_config(stock("_base_/models/pspnet_r50-d8.py"), 6)
    assert config.type == "densekit.SemanticSegmentor"
    assert (config.decode_head.num_classes, config.auxiliary_head.num_classes) == (6, 6)
    assert "Sync" not in str(config)
    assert config.pretrained == "open-mmlab://resnet50_v1c"


def test_the_heads_of_a_cascade_too_and_no_weights_where_none_are_wanted():
    config = model_config(stock("_base_/models/ocrnet_r50-d8.py"), 6, pretrained=False)
    assert config.type == "densekit.CascadeSemanticSegmentor"
    assert [head.num_classes for head in config.decode_head] == [6, 6]
    assert "pretrained" not in config
    assert config.backbone.init_cfg is None


def test_one_logit_and_another_value_for_no_class_are_ours():
    model = stock("_base_/models/fcn_r50-d8.py")
    model["decode_head"] |= {"num_classes": 2, "out_channels": 1, "ignore_index": 0}
    head = model_config(model, 2).decode_head
    assert (head.num_classes, head.out_channels, head.ignore_index) == (2, 2, 255)
    with pytest.raises(ConfigError, match=r"^num_classes=1: EncoderDecoder tells classes"):
        model_config(model, 1)


def test_mask2former_keeps_the_channels_of_its_maps():
    head = model_config(stock("mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py"), 6).decode_head
    assert (head.num_classes, head.out_channels) == (6, 256)
    assert head.loss_cls.class_weight == [1.0] * 6 + [0.1]


def test_weights_of_other_classes_are_refused():
    model = stock("ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py")
    with pytest.raises(ConfigError, match=r"loss_decode.0.class_weight: .* 19 classes, .* 6; give 6 weights"):
        model_config(model, 6)
    assert model_config(model, 19).decode_head.loss_decode[0].class_weight[0] == 0.8373
