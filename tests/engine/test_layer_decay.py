"""Learning rates by layer."""

import pytest
import timm
from torch import nn

from densekit.engine.layer_decay import LayerDecay, layer_ids
from densekit.errors import ConfigError
from densekit.models.on_meta import on_meta


@pytest.fixture(scope="module")
def convnext():
    with on_meta():
        return timm.create_model("convnext_tiny", features_only=True)


def ids_of(backbone, by, layers=6):
    ids = layer_ids(backbone, {"rate": 0.9, "layers": layers, "by": by})
    return lambda start: {i for name, i in ids.items() if name.startswith(start)}


def test_stages_of_convnext_are_mmsegmentations(convnext):
    of = ids_of(convnext, "stage")
    assert [of("stem_0"), *(of(f"stages_{s}.") for s in range(4))] == [{0}, {1}, {2}, {3}, {4}]


def test_layers_of_convnext_are_mmsegmentations(convnext):
    """There: downsampling 0, 2, 3, 6; stages 1, 2, 3 + block // 3, 6."""
    of = ids_of(convnext, "layer")
    assert [of(f"stages_{s}.downsample") for s in (1, 2, 3)] == [{2}, {3}, {6}]
    assert [of(f"stages_2.blocks.{b}.") for b in range(9)] == [{3 + b // 3} for b in range(9)]
    assert of("stages_0.") == {1}
    assert of("stages_3.blocks") == {6}


def test_blocks_of_a_plain_transformer_are_its_layers():
    with on_meta():
        vit = timm.create_model("vit_tiny_patch16_224", features_only=True)
    of = ids_of(vit, "layer", layers=12)
    assert [of(f"model.blocks.{b}.") for b in range(12)] == [{b + 1} for b in range(12)]
    assert of("model.patch_embed") == {0}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict(
            {"stem": nn.Linear(2, 2), "stages_0": nn.Linear(2, 2), "stages_1": nn.Linear(2, 2)}
        )
        self.head = nn.Linear(2, 2)


def test_rates_fall_with_the_distance_from_the_head():
    wrapper = {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 1.0, "weight_decay": 0.1}}
    decay = {"layer_decay": {"rate": 0.5, "layers": 2, "by": "stage"}}
    network = Small()
    groups = LayerDecay(wrapper, decay)(network).optimizer.param_groups
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert found[id(network.head.weight)] == (1.0, 0.1)
    assert found[id(network.head.bias)] == (1.0, 0.0)
    assert found[id(network.backbone["stages_1"].weight)] == (0.5, 0.1)
    assert found[id(network.backbone["stages_0"].weight)] == (0.25, 0.1)
    assert found[id(network.backbone["stem"].weight)] == (0.125, 0.1)
    assert len(found) == len(list(network.parameters()))


def test_a_backbone_without_stages_is_refused():
    with pytest.raises(ConfigError, match="Linear do not say to which stage or block they belong; leave it out"):
        layer_ids(nn.Linear(2, 2), {"rate": 0.9, "layers": 2, "by": "stage"})


def test_no_other_rules_beside():
    wrapper = {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 1.0}}
    with pytest.raises(ConfigError, match="bias_lr_mult beside layer_decay"):
        LayerDecay(wrapper, {"layer_decay": {"rate": 0.9, "layers": 2, "by": "stage"}, "bias_lr_mult": 2.0})
