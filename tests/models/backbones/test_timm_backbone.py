"""timm's networks as backbones."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from densekit.errors import CheckpointError, ConfigError
from densekit.models.backbones import TimmBackbone


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "convnext_atto"])
def test_it_gives_what_it_says(name):
    backbone = TimmBackbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 224, 224))
    assert [m.shape[1] for m in maps] == list(backbone.out_channels)
    assert [224 // m.shape[2] for m in maps] == list(backbone.out_strides)


def test_some_maps_and_other_images():
    backbone = TimmBackbone("resnet18", in_channels=1, out_indices=(2, 3, 4))
    assert (backbone.out_channels, backbone.out_strides) == ((128, 256, 512), (8, 16, 32))
    assert len(backbone(torch.zeros(1, 1, 64, 64))) == 3


def test_weights_from_a_file_are_loaded_when_a_training_starts(tmp_path):
    import timm

    source, path = timm.create_model("resnet18"), tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    backbone = TimmBackbone("resnet18", pretrained=str(path))
    assert not torch.equal(backbone.network.conv1.weight, source.conv1.weight)
    backbone.init_weights()
    assert torch.equal(backbone.network.conv1.weight, source.conv1.weight)


@pytest.mark.parametrize(
    ("pretrained", "norm_eval", "frozen"), [(True, None, True), (False, None, False), (True, False, False)]
)
def test_batch_norms_keep_their_statistics_with_pretrained_weights(pretrained, norm_eval, frozen):
    backbone = TimmBackbone("resnet18", pretrained=pretrained, norm_eval=norm_eval).train()
    assert backbone.training
    assert {m.training for m in backbone.modules() if isinstance(m, _BatchNorm)} == {not frozen}


def test_what_timm_does_not_have_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no network 'resnet18x'; did you mean 'resnet18'"):
        TimmBackbone("resnet18x")
    with pytest.raises(ConfigError, match=r"timm refuses these arguments: .*'width'"):
        TimmBackbone("resnet18", args={"width": 2})
    with pytest.raises(CheckpointError, match=r"no such weights file"):
        TimmBackbone("resnet18", pretrained=str(tmp_path / "none.pth")).init_weights()
    other = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(1)}, other)
    with pytest.raises(CheckpointError, match=r"holds 0 of the network's 122 tensors"):
        TimmBackbone("resnet18", pretrained=str(other)).init_weights()


def test_without_a_network_connection_it_says_how_to_place_the_file(monkeypatch):
    import timm

    create = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise FileNotFoundError("cannot find the requested files")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(CheckpointError, match=r"no network\?.*huggingface.co/timm/resnet18.*pretrained=PATH"):
        TimmBackbone("resnet18", pretrained=True).init_weights()
