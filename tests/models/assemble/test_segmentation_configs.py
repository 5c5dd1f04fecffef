"""Every segmentation config that is shipped: its values hold, and its network is built without memory."""

import re

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from densekit.config_tree import plain
from densekit.engine.config import shipped_configs
from densekit.engine.settings import check_values
from densekit.models.assemble import model_config
from densekit.models.on_meta import on_meta
from densekit.ops.tile_settings import TileSettings
from densekit.registry import MODELS
from densekit.tasks import find_task, load_config

CLASSES = {"ade20k": 150, "cityscapes": 19, "dubai": 6, "nuclei": 2}
CONFIGS = [n for n in shipped_configs() if n.rpartition("_")[2] in CLASSES and not n.startswith("mask-rcnn")]
LARGE = re.compile("-b[1-5]_|convnext-(s|b|l|xl)_|swin-l_")
"""They differ from a small one in widths and depths alone, and take seconds each."""


def test_there_are_such_configs():
    assert {"segformer-b0_ade20k", "vwformer-b2_ade20k", "linear-dinov2-s_ade20k"} <= set(CONFIGS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * bool(LARGE.search(name))) for name in CONFIGS]
)
def test_it_builds(name):
    config = load_config(name)
    check_values(config, find_task(config.task, name).settings, name)
    TileSettings.from_dict(plain(dict(config.inference)))
    assert config.max_iters is None or config.max_iters % config.max_epochs == 0
    classes = CLASSES[name.rpartition("_")[2]]
    model = model_config(config.model, classes, pretrained=bool(config.pretrained))
    with on_meta(), DefaultScope.overwrite_default_scope("mmseg"):
        built = MODELS.build(ConfigDict(model))
    head = built.decode_head[-1] if hasattr(built.decode_head, "__len__") else built.decode_head
    assert head.num_classes == classes
