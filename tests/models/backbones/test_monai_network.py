"""MONAI's networks under VolumeSegmentor: the same results as MONAI's own, any size, settings checked beforehand."""

import pytest
import torch

from densekit.errors import ConfigError
from densekit.models.assemblies import VolumeSegmentor
from densekit.models.backbones import MonaiNetwork
from densekit.models.heads import LogitsHead
from densekit.ops.window_settings import WindowSettings

DYNUNET = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16]}
ARGS = {
    "UNet": {"channels": [4, 8, 16], "strides": [2, [1, 2, 2]]},
    "DynUNet": DYNUNET,
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
    "UNETR": {"img_size": [16, 16, 32], "feature_size": 4, "hidden_size": 12, "mlp_dim": 16, "num_heads": 2},
    "SwinUNETR": {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
}
SMALLEST = {"UNETR": (16, 16, 32), "SwinUNETR": (32, 32, 64)}
ODD = {"UNet": (5, 9, 6), "DynUNet": (5, 9, 6), "SegResNet": (7, 5, 6), "SwinUNETR": (20, 32, 33)}


def segmentor(name, **options):
    args = {**ARGS[name], **options}
    return VolumeSegmentor(MonaiNetwork(name, in_channels=1, num_classes=3, args=args), head=LogitsHead(3))


@pytest.mark.parametrize("name", ARGS)
def test_gives_what_monais_network_gives(name):
    from monai.networks import nets

    model = segmentor(name).eval()
    own = getattr(nets, name)(spatial_dims=3, in_channels=1, out_channels=3, **ARGS[name]).eval()
    own.load_state_dict(model.backbone.network.state_dict())
    volume = torch.randn(1, 1, *SMALLEST.get(name, (16, 16, 32)))
    with torch.no_grad():
        torch.testing.assert_close(model.predict_logits(volume), own(volume))


@pytest.mark.parametrize("name", ODD)
def test_odd_sizes_are_padded_and_cropped(name):
    model, size = segmentor(name).eval(), ODD[name]
    with torch.no_grad():
        assert model.predict_logits(torch.randn(1, 1, *size)).shape == (1, 3, *size)


def test_deep_supervision_of_dynunet_is_trained_and_not_predicted():
    model = segmentor("DynUNet", deep_supervision=True)
    volume, label = torch.randn(1, 1, 8, 15, 16), torch.randint(0, 3, (1, 8, 15, 16))
    assert [o.shape for o in model.train()(volume)] == [(1, 3, 8, 15, 16)] * 2
    sum(model(volume, {"label": label}, mode="loss").values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert [o.shape for o in model.eval()(volume)] == [(1, 3, 8, 15, 16)]


def test_unetr_takes_its_own_size_only():
    with pytest.raises(
        ConfigError, match=r"img_size=\(16, 16, 32\) and got \(16, 16, 16\).*set patch_size, inference window"
    ):
        segmentor("UNETR").predict_logits(torch.randn(1, 1, 16, 16, 16))
    with pytest.raises(ConfigError, match=r"window=\(16, 16, 16\), but the backbone takes exactly \(16, 16, 32\)"):
        WindowSettings((16, 16, 16)).check_fixed_size(segmentor("UNETR"))


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("DynUnet", {}, "expected one of DynUNet, .*did you mean 'DynUNet'"),
        ("SegResNet", {"init_filter": 8}, "SegResNet takes no 'init_filter'; did you mean 'init_filters'"),
        ("UNet", {"channels": [4, 8]}, "UNet also needs strides"),
        ("UNet", {**ARGS["UNet"], "out_channels": 3}, "set by MonaiNetwork itself"),
        ("DynUNet", {**DYNUNET, "strides": [1, 2]}, "MONAI refuses these args: length of kernel_size and strides"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, args, message):
    with pytest.raises(ConfigError, match=message) as caught:
        MonaiNetwork(name, args=args)
    assert "\n" not in str(caught.value)


def test_classes_of_network_and_head_must_agree():
    with pytest.raises(ConfigError, match=r"MonaiNetwork gives channels \(3,\), LogitsHead is set to take \(4,\)"):
        VolumeSegmentor(MonaiNetwork("UNet", 1, 3, args=ARGS["UNet"]), head=LogitsHead(4))
