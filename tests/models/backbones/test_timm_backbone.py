"""timm's networks as backbones."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from densekit.errors import CheckpointError, ConfigError
from densekit.models.backbones import TimmBackbone
from densekit.models.on_meta import on_meta


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


def test_stages_stay_as_they_are():
    """As in MMDetection: 0 is what stands before the first stage, which ends at stride 4."""
    for stages, still in ((-1, ()), (0, ("conv1", "bn1")), (2, ("conv1", "bn1", "layer1", "layer2"))):
        backbone = TimmBackbone("test_resnet", frozen_stages=stages).train()
        parts = dict(backbone.network.named_children())
        found = {name for name, part in parts.items() if not any(p.requires_grad for p in part.parameters())}
        assert {name for name in found if list(parts[name].parameters())} == set(still)
        assert {m.training for name in still for m in parts[name].modules() if isinstance(m, _BatchNorm)} <= {False}
        assert {m.training for m in parts["layer3"].modules() if isinstance(m, _BatchNorm)} == {True}


@pytest.mark.parametrize("name", ["convnext_atto", "efficientnet_b0", "sam2_hiera_tiny", "mvitv2_tiny"])
def test_as_many_stages_as_a_network_has_can_stay(name):
    """Also where the first of its maps is not given; the last leaves nothing to learn but a norm behind it."""
    counts = []
    for stages in range(5):
        with on_meta():
            backbone = TimmBackbone(name, frozen_stages=stages, out_indices=(-2, -1))
        counts.append(sum(p.numel() for p in backbone.parameters() if not p.requires_grad))
    assert counts == sorted(set(counts)) and counts[0] > 0
    assert counts[-1] > 0.99 * sum(p.numel() for p in backbone.parameters())
    with pytest.raises(ConfigError, match=rf"{name}.*frozen_stages=5: it has 4 stages"), on_meta():
        TimmBackbone(name, frozen_stages=5)


def test_a_plain_transformer_has_no_stages():
    with pytest.raises(ConfigError, match=r"frozen_stages=1: its maps are of one stride.*frozen=True"):
        TimmBackbone("test_vit", frozen_stages=1)


def test_each_map_is_normalised_where_published_networks_do():
    assert len(TimmBackbone("test_convnext").norms) == 0
    arguments = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4}
    swin = TimmBackbone("swin_tiny_patch4_window7_224", args=arguments)
    assert [norm.normalized_shape for norm in swin.norms] == [(8,), (16,)]
    assert {norm.eps for norm in swin.norms} == {1e-5}
    x = torch.randn(1, 3, 64, 64)
    bare = TimmBackbone("test_convnext")
    for kind, axes in (("ln", 1), ("gn", (1, 2, 3))):
        torch.manual_seed(0)
        backbone = TimmBackbone("test_convnext", out_norm=kind)
        bare.network.load_state_dict(backbone.network.state_dict())
        for found, plain in zip(backbone(x), bare(x), strict=True):
            centred = plain - plain.mean(axes, keepdim=True)
            wanted = centred / (plain.var(axes, keepdim=True, unbiased=False) + backbone.norms[0].eps).sqrt()
            assert torch.allclose(found, wanted, atol=1e-5)
    with pytest.raises(ConfigError, match=r"out_norm='bn': expected one of"):
        TimmBackbone("test_convnext", out_norm="bn")


def test_the_last_norm_of_a_plain_transformer_serves_all_maps():
    backbone, bare = TimmBackbone("test_vit", out_norm="own", out_indices=(0, 5)), TimmBackbone("test_vit")
    assert (backbone.out_channels, backbone.out_strides) == ((64, 64), (16, 16))
    assert set(backbone.state_dict()) - set(bare.state_dict()) == {
        "network.model.norm.weight",
        "network.model.norm.bias",
    }
    with torch.no_grad():
        for found in backbone.eval()(torch.randn(1, 3, 64, 64)):
            assert found.mean(1).abs().max() < 1e-5
    with pytest.raises(ConfigError, match="out_norm='own' is for plain vision transformers"):
        TimmBackbone("test_convnext", out_norm="own")


def test_strides_become_dilations_or_it_is_refused():
    backbone = TimmBackbone("test_resnet", output_stride=8)
    assert backbone.out_strides[-1] == 8
    assert backbone(torch.zeros(1, 3, 64, 64))[-1].shape[2:] == (8, 8)
    for name in ("dla46_c", "poolformer_s12", "focalnet_tiny_srf"):
        with pytest.raises(ConfigError, match=rf"{name}.*cannot become dilations, output_stride=16 is to be left out"):
            TimmBackbone(name, output_stride=16)


def test_drop_path_grows_with_the_depth():
    rates = [
        m.drop_prob for m in TimmBackbone("convnext_atto", drop_path_rate=0.3).modules() if hasattr(m, "drop_prob")
    ]
    assert rates == sorted(rates) and rates[-1] == pytest.approx(0.3)


def test_the_first_convolution_is_folded_for_images_of_other_channels(tmp_path):
    import timm

    source, path = timm.create_model("test_resnet"), tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    stem = source.conv1[0] if isinstance(source.conv1, torch.nn.Sequential) else source.conv1
    for channels in (1, 5):
        backbone = TimmBackbone("test_resnet", in_channels=channels, pretrained=str(path))
        backbone.init_weights()
        own = backbone.network.state_dict()
        key = next(key for key in own if own[key].ndim == 4)
        # timm's rule: the sum for one channel; else repeated, and scaled so that the response stays.
        wanted = stem.weight.sum(1, keepdim=True) if channels == 1 else stem.weight[:, [0, 1, 2, 0, 1]] * 3 / 5
        assert torch.allclose(own[key], wanted, atol=1e-6)
        assert backbone.mean == [pytest.approx(sum(TimmBackbone("test_resnet").mean) / 3)] * channels


def test_the_position_table_is_resampled_for_another_size(tmp_path):
    import timm

    source, path = timm.create_model("test_vit"), tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    backbone = TimmBackbone("test_vit", img_size=(96, 64), pretrained=str(path))
    backbone.init_weights()
    tokens = source.pos_embed.shape[1] - 100
    assert backbone.network.model.pos_embed.shape[1] == tokens + 24
    assert torch.equal(backbone.network.model.blocks[0].mlp.fc1.weight, source.blocks[0].mlp.fc1.weight)


def test_a_network_without_feature_maps_is_refused(monkeypatch):
    import timm

    create = timm.create_model

    def flat(name, features_only=False, **options):
        if features_only:
            raise AttributeError("'Flat' object has no attribute 'feature_info'")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", flat)
    with pytest.raises(
        ConfigError, match=r"'test_resnet'\): timm gives no feature maps of this network .*convnext_tiny"
    ):
        TimmBackbone("test_resnet")


def test_patches_are_resampled(tmp_path):
    """DINOv2's patches of 14 become 16 this way, from which a pyramid of strides 4 to 32 follows."""
    import timm

    source, path = timm.create_model("test_vit"), tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    backbone = TimmBackbone("test_vit", args={"patch_size": 32}, pretrained=str(path))
    backbone.init_weights()
    assert backbone.out_strides == (32, 32, 32) and backbone.size_multiple == 32
    # Resampled so that a patch that is enlarged as well gives what it gave.
    projection, flat = backbone.network.model.patch_embed.proj, torch.randn(1, 3, 1, 1)
    found, wanted = projection(flat.expand(1, 3, 32, 32)), source.patch_embed.proj(flat.expand(1, 3, 16, 16))
    assert torch.allclose(found, wanted, atol=1e-4)
