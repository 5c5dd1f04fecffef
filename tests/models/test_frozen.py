"""Frozen encoders: any backbone stays as it is, under the same names."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from densekit.errors import ConfigError
from densekit.models.assemble import assemble, model_config
from densekit.models.backbones import TimmBackbone
from densekit.models.frozen import freeze
from densekit.package.pretrained import load_backbone, separate_backbone
from densekit.registry import MODELS

BACKBONES = {
    "of MMDetection": {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8, "init_cfg": None},
    "of MMSegmentation": {"type": "mmseg.MixVisionTransformer", "embed_dims": 8, "num_layers": [1, 1, 1, 1]},
    "of timm": {"type": "densekit.TimmBackbone", "name": "test_resnet"},
    "ours": {
        "type": "densekit.DFormer",
        "in_channels": 1,
        "widths": (8, 16),
        "depths": (1, 1),
        "heads": (1, 2),
        "unit": (2, 4, 4),
    },
}


def build(config):
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build({"type": "densekit.FrozenBackbone", "backbone": config})


@pytest.mark.parametrize("name", BACKBONES)
def test_nothing_of_it_learns_whoever_wrote_it(name):
    backbone = build(BACKBONES[name])
    size = (8, 16, 16) if name == "ours" else (64, 64)
    x = torch.randn(2, 1 if name == "ours" else 3, *size, requires_grad=True)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    assert not any(p.requires_grad for p in backbone.parameters())
    assert backbone.train() is backbone and not any(m.training for m in backbone.modules())
    maps = backbone(x)
    assert not any(m.requires_grad for m in maps)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(maps, backbone.eval()(x), strict=True))


def test_it_is_the_same_module_under_the_same_names():
    learning = TimmBackbone("test_resnet")
    keys = list(learning.state_dict())
    frozen = freeze(learning)
    assert frozen is learning and freeze(frozen) is learning
    assert isinstance(frozen, TimmBackbone) and type(frozen).__name__ == "TimmBackbone"
    assert list(frozen.state_dict()) == keys
    other = copy.deepcopy(frozen)
    assert not other.train().training and not other(torch.zeros(1, 3, 64, 64))[0].requires_grad


def detector(backbone, **options):
    return assemble(backbone=backbone, neck="FPN", head="RetinaHead", num_classes=3, **options)


def test_a_model_learns_on_it():
    config = detector({**BACKBONES["of MMDetection"], "frozen": True}, pretrained=False)
    assert config.backbone.type == "densekit.FrozenBackbone"
    plain = detector(BACKBONES["of MMDetection"], pretrained=False)
    assert config.backbone.backbone == plain.backbone and config.neck == plain.neck
    with DefaultScope.overwrite_default_scope("mmdet"):
        model, other = MODELS.build(config), MODELS.build(plain)
    other.load_state_dict(model.state_dict())
    model.train()
    sum(score.square().mean() for score in model.bbox_head(model.extract_feat(torch.randn(1, 3, 64, 64)))[0]).backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None} == {"neck", "bbox_head"}


def test_a_named_size_and_a_network_of_timm_can_be_frozen_too():
    config = detector({"type": "resnet18", "frozen": True})
    assert config.backbone.backbone.type == "mmdet.ResNet" and "frozen" not in config.backbone.backbone
    again = detector(config.backbone)
    assert again.backbone == config.backbone
    assert detector({"type": "resnet18", "frozen": False}) == detector("resnet18")
    assert model_config(config, 5).backbone == config.backbone
    with pytest.raises(ConfigError, match=r"backbone\.frozen=2: expected True or False; stages: frozen_stages"):
        detector({"type": "resnet18", "frozen": 2})


def test_without_weights_the_whole_config_is_changed_inside():
    config = model_config(detector({"type": "resnet18", "frozen": True}), 3, pretrained=False)
    assert config.backbone.backbone.init_cfg is None and config.backbone.backbone.norm_eval is False


def test_its_weights_are_loaded_as_those_of_the_learning_one(tmp_path):
    import timm

    weights = timm.create_model("test_resnet").state_dict()
    torch.save(weights, tmp_path / "w.pth")
    config, source = separate_backbone(
        detector({"type": "TimmBackbone", "name": "test_resnet", "pretrained": True, "frozen": True})
    )
    assert source == "timm/test_resnet" and config.backbone.backbone.pretrained is False
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config)
    load_backbone(model, str(tmp_path / "w.pth"))
    key = next(key for key, value in weights.items() if value.ndim == 4)
    assert torch.equal(model.backbone.network.state_dict()[key], weights[key])
    assert isinstance(model.backbone, nn.Module) and not model.train().backbone.training
