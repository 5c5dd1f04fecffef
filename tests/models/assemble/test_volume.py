"""assemble() for volumes: counts come from the data, channels from the backbone, and every config has its size."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

import densekit
from densekit.errors import ConfigError
from densekit.models.assemble import assemble, model_config
from densekit.models.cost import parameter_count
from densekit.models.heads import VolumeHead
from densekit.models.on_meta import on_meta
from densekit.registry import MODELS

CONFIGS = Path(densekit.__file__).parent / "configs"
SIZES = {  # with 7 classes: parameters and entries of the state dict
    "dformer-tiny_phantom": (874_656, 162),
    "dformer_acdc": (47_454_432, 322),
    "dformer_hippocampus": (874_656, 162),
    "dformer_synapse": (50_552_544, 322),
    "dynunet_hippocampus": (1_401_255, 92),
    "dynunet_synapse": (31_163_733, 152),
    "segresnet_synapse": (18_796_167, 83),
    "swinunetr_synapse": (62_186_953, 159),
    "unet_synapse": (19_226_794, 63),
    "unetr_synapse": (92_802_359, 194),
}
UNET = {"type": "MonaiNetwork", "name": "UNet", "args": {"channels": [4, 8], "strides": [2]}}
WHOLE = {
    "type": "VolumeSegmentor",
    "backbone": {"type": "DFormer", "widths": (8, 16), "depths": (1, 1), "heads": (1, 2), "patch": (2, 2, 2)},
    "head": {"type": "PatchExpandingHead", "in_channels": (8,), "patch": (2, 2, 2), "deep_supervision": 1},
}


def keys(config):
    if isinstance(config, dict):
        return {*config, *(key for value in config.values() for key in keys(value))}
    return {key for item in config for key in keys(item)} if isinstance(config, (list, tuple)) else set()


def test_every_volume_config_is_here():
    names = {path.stem for path in CONFIGS.glob("*.py") if Config.fromfile(path).get("task") == "volume"}
    assert names == SIZES.keys()


@pytest.mark.parametrize("name", SIZES)
def test_a_config_types_no_channels_and_its_model_has_its_size(name):
    model = Config.fromfile(CONFIGS / f"{name}.py").model
    assert not keys(model.to_dict()) & {"in_channels", "out_channels", "num_classes", "widths"}
    with on_meta():
        network = MODELS.build(model_config(model, 7, in_channels=1))
    assert (parameter_count(network), len(network.state_dict())) == SIZES[name]


def test_counts_come_from_the_data():
    config = model_config({"backbone": UNET, "head": "LogitsHead"}, 4, in_channels=2)
    assert (config.backbone.in_channels, config.backbone.num_classes, config.head.num_classes) == (2, 4, 4)
    assert config.head.type == "LogitsHead"  # names of densekit alone, as checkpoints of volumes hold
    whole = model_config(WHOLE, 4, in_channels=2)
    assert (whole.backbone.in_channels, whole.head.num_classes) == (2, 4)
    assert MODELS.build(whole)(torch.zeros(1, 2, 4, 4, 4))[0].shape == (1, 4, 4, 4, 4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"backbone": {**UNET, "in_channels": 1}, "head": "LogitsHead"},
         r"MonaiNetwork: in_channels=1, but the images have 2; leave it out"),
        ({"backbone": {**UNET, "num_classes": 9}, "head": "LogitsHead"},
         r"MonaiNetwork: num_classes=9, but the model is to have 4; leave it out"),
        ({"backbone": UNET, "head": {"type": "LogitsHead", "num_classes": 9}}, r"LogitsHead: num_classes=9, but"),
        ({**WHOLE, "head": {**WHOLE["head"], "num_classes": 9}},
         r"model.head.num_classes=9, but the data set has 4 classes .*leave the key out"),
        ({**WHOLE, "backbone": {**WHOLE["backbone"], "in_channels": 1}}, r"model.backbone.in_channels=1, but .* 2"),
        ({**WHOLE, "backbone": None}, r"model needs a backbone and a head"),
    ],
)  # fmt: skip
def test_other_counts_than_those_of_the_data_are_refused(model, message):
    with pytest.raises(ConfigError, match=message) as caught:
        model_config(model, 4, in_channels=2)
    assert "\n" not in str(caught.value)


def test_a_part_that_is_made_for_two_or_three_dimensions_follows_the_backbone():
    class AnyHead(VolumeHead):
        spatial_dims = property(lambda self: self.dims)

        def __init__(self, in_channels, num_classes, *, spatial_dims=2, in_strides=(1,)):
            nn.Module.__init__(self)
            self.dims, self.num_classes = spatial_dims, num_classes
            self.in_channels, self.in_strides = in_channels[:1], in_strides[:1]

    config = assemble(backbone="dformer_tiny", head=AnyHead, num_classes=3)
    assert (config.head.spatial_dims, config.head.in_channels) == (3, (32, 64, 128))
    with pytest.raises(ConfigError, match=r"DFormer -> AnyHead: the first works on 3D data, the second on 2D"):
        assemble(backbone="dformer_tiny", head={"type": AnyHead, "spatial_dims": 2}, num_classes=3)


def test_what_is_named_is_found_whatever_ran_before():
    parts = {"backbone": "dformer_tiny", "neck": {"type": "DFormerDecoder", "depths": (2, 2), "heads": (1, 2)}}
    loss = {"type": "DeepSupervisionLoss", "loss": {"type": "DiceCELoss", "smooth": 0.123}}  # asked nowhere else
    head = {"type": "PatchExpandingHead", "deep_supervision": 2, "loss": loss}
    with DefaultScope.overwrite_default_scope("mmdet"):  # MMEngine keeps that of the last run
        config = assemble(**parts, head=head, num_classes=3)
    assert config.head.loss.type == "DeepSupervisionLoss"
