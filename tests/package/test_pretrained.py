"""Where a backbone's weights come from: files that are there, downloads that fail, and names that nobody has."""

import urllib.error
import urllib.request
from functools import cache

import pytest
import torch

import densekit  # noqa: F401  before mmdet
from densekit.errors import CheckpointError, ConfigError
from densekit.models.backbones import TimmBackbone
from densekit.package import pretrained as module
from densekit.package.pretrained import load_backbone, separate_backbone

torch.set_num_threads(1)
TINY = "test_resnet.r160_in1k"  # timm's smallest with weights of its own


@cache
def assembled(backbone):
    from densekit.models.assemble import model_config

    return model_config({"backbone": backbone, "neck": "FPN", "head": "RetinaHead"}, 3)


def detector(backbone="resnet18"):
    """A detector without its download, and what that would be."""
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    config, source = separate_backbone(assembled(backbone))
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build(config), source


@pytest.fixture(scope="module")
def resnet18():
    """Weights as torchvision has them, the classifier included."""
    from torchvision.models import resnet18

    return resnet18().state_dict()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Folder of torch.hub's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def offline(monkeypatch):
    """No server can be reached; returns the addresses that were tried."""
    tried = []

    def fail(request, *_args, **_options):
        tried.append(getattr(request, "full_url", request))
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setattr(torch.hub, "urlopen", fail)
    return tried


# --- config -----------------------------------------------------------------------------------------------------------
def test_the_download_is_taken_out_and_what_goes_with_it_stays():
    config, source = separate_backbone(assembled("resnet18"))
    assert source == "torchvision://resnet18"
    assert "init_cfg" not in config.backbone
    assert config.backbone.frozen_stages == 1 and config.backbone.norm_eval is True
    assert "init_cfg" in assembled("resnet18").backbone


def test_a_network_of_timm_is_not_told_to_download_either():
    config, source = separate_backbone(assembled(TINY))
    assert source == f"timm/{TINY}"
    assert config.backbone.pretrained is False and config.backbone.norm_eval is True


@pytest.mark.parametrize(
    ("backbone", "source"),
    [
        ({"type": "ResNet", "depth": 50}, "torchvision://resnet50"),
        ({"type": "mmdet.ResNet", "depth": 50, "init_cfg": None}, None),
        ({"type": "ResNet", "depth": 50, "base_channels": 8}, None),
        ({"type": "ResNet", "depth": 50, "style": "caffe"}, None),
        ({"type": "ResNet", "pretrained": "torchvision://resnet101"}, "torchvision://resnet101"),
        ({"type": "SSDVGG", "init_cfg": {"type": "Pretrained", "checkpoint": "open-mmlab://x"}}, "open-mmlab://x"),
        ({"type": "Swin", "init_cfg": [{"type": "Pretrained", "checkpoint": "https://a/b.pth"}]}, "https://a/b.pth"),
        ({"type": "CSPDarknet", "init_cfg": {"type": "Kaiming", "layer": "Conv2d"}}, None),
        ({"type": "TimmBackbone", "name": "resnet18", "pretrained": "a.pth"}, "a.pth"),
        ({"type": "TimmBackbone", "name": "resnet18"}, None),
    ],
)
def test_what_a_backbone_names(backbone, source):
    config, found = separate_backbone({"type": "X", "backbone": backbone})
    assert found == source
    assert source not in str(config) if source else True


def test_another_part_that_would_load_weights_is_refused():
    init = {"type": "Pretrained", "checkpoint": "https://a/b.pth"}
    for config, place in (
        ({"type": "X", "init_cfg": init}, "model"),
        ({"type": "X", "neck": [{"type": "FPN", "init_cfg": init}]}, "model.neck.0"),
    ):
        with pytest.raises(ConfigError, match=rf"^{place}\.init_cfg loads 'https://a/b.pth'.*`load_from`"):
            separate_backbone(config)


# --- files ------------------------------------------------------------------------------------------------------------
def check_loaded(model, weights):
    own = model.backbone.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in own.items()) and len(own) > 100


def test_true_takes_torchvisions_file_from_the_cache(hub, offline, resnet18):
    torch.save(resnet18, hub / "resnet18-f37072fd.pth")
    model, source = detector()
    (line,) = load_backbone(model, True, source)
    check_loaded(model, resnet18)
    assert line == (
        f"backbone: 120 of 120 tensors from torchvision://resnet18 ({hub / 'resnet18-f37072fd.pth'}); not used: "
        f"fc.weight, fc.bias"
    )
    assert not offline


def test_false_loads_and_tries_nothing(hub, offline):
    model, source = detector()
    before = model.backbone.conv1.weight.clone()
    assert load_backbone(model, False, source) == ["backbone from scratch (pretrained=False)"]
    assert torch.equal(model.backbone.conv1.weight, before) and not offline


def test_true_where_the_config_names_nothing_says_so(offline):
    model, _ = detector()
    (line,) = load_backbone(model, True, None)
    assert "from scratch: the config names no weights for ResNet" in line and not offline


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "model.backbone."])
def test_a_file_of_a_backbone_or_of_a_detector(tmp_path, resnet18, prefix):
    weights = {f"{prefix}{key}": value for key, value in resnet18.items()}
    weights |= {"neck.conv.weight": torch.zeros(1)} if "backbone" in prefix else {}
    torch.save({"state_dict": weights, "meta": {}}, tmp_path / "w.pth")
    model, _ = detector()
    load_backbone(model, tmp_path / "w.pth")
    check_loaded(model, resnet18)


def test_a_file_that_lacks_a_little_is_loaded_and_says_what(tmp_path, resnet18):
    weights = {key: value for key, value in resnet18.items() if not key.startswith(("layer4.1", "fc"))}
    torch.save(weights, tmp_path / "w.pth")
    model, _ = detector()
    (line,) = load_backbone(model, str(tmp_path / "w.pth"))
    assert "108 of 120 tensors" in line and "not in it: layer4.1.conv1.weight" in line and "and 6 more" in line


def test_a_file_with_the_names_of_the_official_code(tmp_path):
    model, _ = detector("mit_b0")
    own = model.backbone.state_dict()
    weights = {key: torch.rand_like(value) for key, value in own.items()}
    official = {f"backbone.{key}".replace("stages.3.norm.", "norm4."): value for key, value in weights.items()}
    assert "backbone.norm4.bias" in official
    torch.save({"model": official, "epoch": 299}, tmp_path / "w.pth")
    load_backbone(model, str(tmp_path / "w.pth"))
    assert all(torch.equal(value, weights[key]) for key, value in model.backbone.state_dict().items())


def test_a_timm_file_goes_into_timms_network(tmp_path):
    import timm

    weights = timm.create_model(TINY).state_dict()
    torch.save(weights, tmp_path / "w.pth")
    model, _ = detector(TINY)
    load_backbone(model, str(tmp_path / "w.pth"))
    own = model.backbone.network.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in own.items())
    assert model.backbone.pretrained is False  # nothing will be loaded again


def test_a_timm_file_is_folded_for_images_of_other_channels(tmp_path):
    import timm

    weights = timm.create_model(TINY).state_dict()
    torch.save(weights, tmp_path / "w.pth")
    model = torch.nn.Module()
    model.backbone = TimmBackbone(TINY, in_channels=1)
    load_backbone(model, str(tmp_path / "w.pth"))
    key = next(key for key, value in weights.items() if value.ndim == 4)
    assert torch.allclose(model.backbone.network.state_dict()[key], weights[key].sum(1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize(("backbone", "name"), [(TINY, TINY), ("resnet18", "resnet18.a1_in1k")])
def test_weights_in_the_cache_of_the_hugging_face_hub_need_no_network(tmp_path, monkeypatch, offline, backbone, name):
    import timm
    from huggingface_hub import constants
    from safetensors.torch import save_file

    weights = timm.create_model(name).state_dict()
    folder = tmp_path / f"models--timm--{name}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(weights, folder / "snapshots" / ("0" * 40) / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model, _ = detector(backbone)
    (line,) = load_backbone(model, f"timm/{name}")
    assert f"timm/{name}" in line
    own = getattr(model.backbone, "network", model.backbone).state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in own.items())
    assert not offline and constants.HF_HUB_OFFLINE is False


def test_random_numbers_go_on_as_if_nothing_had_been_drawn(tmp_path):
    import timm

    torch.save(timm.create_model(TINY).state_dict(), tmp_path / "w.pth")
    model, _ = detector(TINY)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    load_backbone(model, str(tmp_path / "w.pth"))
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a.weight": torch.zeros(3)}, r"holds 0 of the 120 tensors of this ResNet \(its first is 'a.weight', the "),
        (
            {"conv1.weight": torch.zeros(8, 3, 7, 7)},
            r"its conv1.weight is \(8, 3, 7, 7\), the backbone's \(64, 3, 7, 7\)",
        ),
    ],
)
def test_weights_of_another_network_are_refused_and_nothing_is_changed(tmp_path, weights, message):
    torch.save(weights, tmp_path / "w.pth")
    model, _ = detector()
    before = model.backbone.conv1.weight.clone()
    with pytest.raises(CheckpointError, match=message):
        load_backbone(model, str(tmp_path / "w.pth"))
    assert torch.equal(model.backbone.conv1.weight, before)


def test_weights_of_another_network_of_timm_are_refused(tmp_path):
    import timm

    torch.save(timm.create_model("test_convnext").state_dict(), tmp_path / "w.pth")
    model, _ = detector(TINY)
    with pytest.raises(CheckpointError, match=r"w\.pth.*of another network"):
        load_backbone(model, str(tmp_path / "w.pth"))


def test_code_in_a_cached_file_is_not_run(hub, tmp_path):
    marker = tmp_path / "code_ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    torch.save({"conv1.weight": Evil()}, hub / "resnet18-f37072fd.pth")
    model, source = detector()
    with pytest.raises(CheckpointError, match="refused"):
        load_backbone(model, True, source)
    assert not marker.exists()


# --- no network -------------------------------------------------------------------------------------------------------
def refusal(pretrained, source=None, backbone="resnet18", kind=CheckpointError):
    model, _ = detector(backbone)
    with pytest.raises(kind) as caught:
        load_backbone(model, pretrained, source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_network_the_file_and_its_folder_are_named(hub, offline):
    assert refusal(True, "torchvision://resnet50") == (
        f"torchvision://resnet50: resnet50-0676ba61.pth could not be downloaded (Name or service not known); fetch it "
        f"from https://download.pytorch.org/models/resnet50-0676ba61.pth elsewhere and put it into {hub}, or give its "
        f"path as pretrained=PATH; pretrained=False starts from scratch"
    )
    assert len(offline) == 1 and not list(hub.iterdir())


def test_a_server_that_does_not_answer_is_given_up_soon(hub, monkeypatch):
    waited = []

    def silent(*_args, **_options):
        import socket

        waited.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(torch.hub, "urlopen", silent)
    assert "resnet50-0676ba61.pth could not be downloaded (timed out)" in refusal(True, "torchvision://resnet50")
    assert waited == [module.TIMEOUT]


def test_the_second_weights_of_torchvision_have_their_own_name(hub, offline):
    assert "resnet50-11ad3fa6.pth" in refusal("torchvision://resnet50.imagenet1k_v2")
    assert "resnet50-11ad3fa6.pth" in refusal("torchvision://ResNet50_Weights.DEFAULT")


def test_files_of_openmmlab_are_named_without_an_address(hub, offline):
    message = refusal(True, "open-mmlab://vgg16_caffe")
    assert "vgg16_caffe-292e1171.pth could not be downloaded" in message and "http" not in message


@pytest.mark.parametrize("backbone", ["resnet18", TINY])
def test_without_a_network_timm_asks_once(tmp_path, monkeypatch, offline, backbone):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    message = refusal(f"timm/{TINY}", backbone=backbone)
    assert f"model.safetensors of timm/{TINY} could not be downloaded" in message
    assert "(Name or service not known)" in message
    assert f"copy the folder models--timm--{TINY} of another computer's cache into {tmp_path}" in message
    assert len(offline) == 1 and constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("torchvision://resnet55", ConfigError, "torchvision has no network 'resnet55'; did you mean 'resnet50'"),
        ("torchvision://resnet50.v9", ConfigError, "no such weights of resnet50; it has imagenet1k_v1, imagenet1k_v2"),
        ("open-mmlab://vgg16_caff", ConfigError, "no weights 'vgg16_caff'; did you mean 'vgg16_caffe'?"),
        ("timm/resnet18x", ConfigError, "timm has no network of that name; did you mean 'resnet18'"),
        ("timm/resnet18.zz", ConfigError, "timm has no such weights; it has resnet18.a1_in1k, "),
        ("timm/test_resnet2", ConfigError, "timm has no network of that name; did you mean 'test_resnet'"),
        ("resnet50.a1_in1k", CheckpointError, "no such file; did you mean timm/resnet50.a1_in1k?; give a file"),
        ("nowhere/w.pth", CheckpointError, "pretrained='nowhere/w.pth': no such file; give a file, torchvision://"),
    ],
)
def test_names_that_nobody_has(offline, given, kind, message):
    assert message in refusal(given, kind=kind)
    assert not offline
