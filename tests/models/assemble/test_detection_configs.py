"""Every detection config is built, trained one step and used for prediction, on a small ResNet and tiny images."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper

from densekit.errors import ConfigError
from densekit.models.assemble import model_config
from densekit.models.cost import detector_cost
from densekit.tasks import load_config

ROOT = Path(__file__).parents[3]
CONFIGS = {path.stem: path for path in sorted((ROOT / "densekit" / "configs").glob("*_coco.py"))}
DETECTORS = ("retinanet", "atss", "gfl", "fcos", "freeanchor")
NECKS = ("fpn", "pafpn", "sepc-lite", "sepc", "rcnet")
EXPECTED = {
    *(f"{detector}-{neck}-r50_coco" for detector in DETECTORS for neck in NECKS),
    *(f"faster-rcnn-{neck}-r50_coco" for neck in ("fpn", "panet", "sepc", "rcnet")),
    *("mask-rcnn-fpn-r50_coco", "mask-rcnn-panet-r50_coco", "cascade-rcnn-fpn-r50_coco", "ssd300_coco"),
}
QUICK = {
    *(f"retinanet-{neck}-r50_coco" for neck in NECKS),
    *("fcos-sepc-r50_coco", "gfl-rcnet-r50_coco", "faster-rcnn-panet-r50_coco", "faster-rcnn-sepc-r50_coco"),
    *("mask-rcnn-panet-r50_coco", "ssd300_coco"),
}
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS]
SIZES = {"ssd300_coco": (300, 300)}


def small_model(name):
    """The config's model with 3 classes, and a ResNet-18 of 8 channels from scratch where it has a ResNet-50."""
    model = Config.fromfile(CONFIGS[name]).model
    if "type" in model:
        model.backbone.init_cfg = None
    else:
        assert model.backbone == "resnet50"
        model.backbone = {"type": "ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
    return shrunk(model_config(model, 3))


SMALLER = {
    "score_thr": 0.0,  # an untrained model is sure of nothing
    "fc_out_channels": 64,
    "conv_out_channels": 64,
    "nms_pre": 50,
    "max_per_img": 50,
    "num": 32,
}


def shrunk(node):
    """The config with smaller numbers where it has any of these."""
    if isinstance(node, list):
        return [shrunk(item) for item in node]
    if not isinstance(node, dict):
        return node
    return ConfigDict({key: SMALLER.get(key, shrunk(value)) for key, value in node.items()})


def losses_of(model, data):
    """The summed loss and its parts, with the regions that a two-stage detector draws always the same."""
    torch.manual_seed(0)
    return model.parse_losses(model(**data, mode="loss"))


def comparable(model, data):
    """What must fall in one step: the loss; of two stages that of classes, as boxes are those of the step's regions."""
    total, parts = losses_of(model, data)
    if not hasattr(model, "rpn_head"):
        return total.item()
    return sum(value.item() for name, value in parts.items() if "loss_cls" in name or "rpn_cls" in name)


def test_all_that_are_promised_are_there():
    assert set(CONFIGS) == EXPECTED


@pytest.mark.parametrize("name", EACH)
def test_it_trains_and_predicts(name, build_detector, toy_batch):
    height, width = SIZES.get(name, (64, 96))
    model = build_detector(small_model(name)).train()
    data = model.data_preprocessor(toy_batch(height, width), training=True)
    before = comparable(model, data)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.005), clip_grad={"max_norm": 1.0})
    optimizer.update_params(losses_of(model, data)[0])
    assert comparable(model, data) < before
    with torch.no_grad():
        (found,) = model.eval().test_step(toy_batch(height, width, images=1))
    found = found.pred_instances
    assert len(found) > 0 and torch.isfinite(found.bboxes).all()
    assert (found.bboxes[:, 2:] >= found.bboxes[:, :2]).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all() and (found.labels < 3).all()
    if name.startswith("mask"):
        assert found.masks.shape == (len(found), height, width)


@pytest.mark.parametrize("name", EACH)
def test_autocast(name, build_detector, toy_batch):
    check_autocast(name, torch.bfloat16, build_detector, toy_batch)


def test_autocast_in_half_precision(build_detector, toy_batch):
    check_autocast("retinanet-sepc-r50_coco", torch.float16, build_detector, toy_batch)


def check_autocast(name, dtype, build_detector, toy_batch):
    model = build_detector(small_model(name)).train()
    data = model.data_preprocessor(toy_batch(*SIZES.get(name, (64, 96))), training=True)
    with torch.autocast("cpu", dtype):
        loss, _ = losses_of(model, data)
    loss.backward()
    assert torch.isfinite(loss)
    # Loosely: with rounded proposals other regions may be drawn.
    torch.testing.assert_close(loss.float(), losses_of(model, data)[0], rtol=0.2, atol=0)


@pytest.mark.parametrize("name", EACH)
def test_channels_last_changes_nothing(name, build_detector, toy_batch):
    model = build_detector(small_model(name)).train()
    data = model.data_preprocessor(toy_batch(*SIZES.get(name, (64, 96))), training=True)
    torch.manual_seed(0)
    loss, _ = losses_of(model, data)
    torch.manual_seed(0)
    model = model.to(memory_format=torch.channels_last)
    other, _ = losses_of(model, data)
    other.backward()
    torch.testing.assert_close(other, loss, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_its_keys_are_known_and_it_has_a_reason(name):
    assert load_config(CONFIGS[name]).data_root == "data/coco"
    assert CONFIGS[name].read_text().startswith('"""')


def test_recipes():
    def of(name):
        return load_config(CONFIGS[f"{name}-r50_coco"])

    assert of("retinanet-fpn").optimizer.lr == of("retinanet-rcnet").optimizer.lr == 0.01
    assert of("faster-rcnn-fpn").optimizer.lr == of("mask-rcnn-panet").optimizer.lr == 0.02
    sepc, rcnet = of("atss-sepc"), of("atss-rcnet")
    assert (sepc.batch_size, sepc.clip_grad, sepc.schedule[0].start_factor) == (4, 35.0, 1 / 3)
    assert (rcnet.batch_size, rcnet.clip_grad, rcnet.schedule[0].start_factor) == (4, None, 0.001)
    assert all(of(f"{name}-fpn").lr_batch == 16 for name in DETECTORS)


def test_a_whole_model_config_gets_the_classes_of_the_data():
    config = model_config(Config.fromfile(CONFIGS["ssd300_coco"]).model, 7)
    assert config.bbox_head.num_classes == 7 and config.type == "mmdet.SingleStageDetector"


@pytest.mark.parametrize(
    ("backbone", "scratch"),
    [
        (
            {"type": "mmdet.ResNet", "depth": 18, "frozen_stages": 1, "norm_eval": True, "init_cfg": {"type": "X"}},
            {"frozen_stages": -1, "norm_eval": False, "init_cfg": None},
        ),
        ({"type": "mmdet.EfficientNet"}, {"frozen_stages": 0, "norm_eval": False, "init_cfg": None}),
        (
            {"type": "densekit.TimmBackbone", "name": "resnet18", "pretrained": True},
            {"pretrained": False, "norm_eval": False, "frozen_stages": -1},
        ),
    ],
)
def test_without_pretrained_weights_a_whole_model_config_freezes_nothing(backbone, scratch, build_detector):
    rest = {"neck": {"type": "FPN", "out_channels": 16}, "head": "RetinaHead"}
    whole = {**model_config({"backbone": "resnet18", **rest}, 3), "backbone": backbone}
    config = model_config(whole, 3, pretrained=False)
    assert config.backbone == {**backbone, **scratch}
    built = build_detector(config).backbone
    built.train()
    assert all(p.requires_grad for p in built.parameters())
    assert all(m.training for m in built.modules())
    assert model_config(whole, 3).backbone == backbone  # with them it stays as it is


def test_without_pretrained_weights_a_part_freezes_only_what_its_config_says():
    rest = {"neck": "FPN", "head": "RetinaHead"}
    resnext = {"type": "ResNeXt", "depth": 50}
    config = model_config({"backbone": resnext, **rest}, 3, pretrained=False)
    assert (config.backbone.init_cfg, config.backbone.frozen_stages, config.backbone.norm_eval) == (None, -1, False)
    config = model_config({"backbone": {**resnext, "norm_eval": True}, **rest}, 3, pretrained=False)
    assert (config.backbone.frozen_stages, config.backbone.norm_eval) == (-1, True)


def test_arguments_that_assemble_does_not_have_are_refused():
    with pytest.raises(ConfigError, match=r"takes no argument 'nek'; did you mean 'neck'"):
        model_config({"backbone": "resnet18", "nek": "FPN", "head": "RetinaHead"}, 3)
    with pytest.raises(ConfigError, match=r"model: it has no head; give one"):
        model_config({"backbone": "resnet18", "neck": "FPN"}, 3)


def table_rows():
    text = (ROOT / "docs" / "detection.md").read_text()
    return re.findall(r"^\| `([\w-]+_coco)` \| ([\d.]+) \| ([\d.]+) \|", text, flags=re.MULTILINE)


def test_the_table_has_every_config():
    assert {name for name, _, _ in table_rows()} == EXPECTED


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=() if row[0] in QUICK else pytest.mark.slow, id=row[0]) for row in table_rows()]
)
def test_the_table_says_what_the_models_cost(row):
    name, parameters, billions = row
    cost = detector_cost(model_config(Config.fromfile(CONFIGS[name]).model, 80), *SIZES.get(name, (800, 1344)))
    assert f"{cost.parameters / 1e6:.2f}" == parameters
    assert f"{cost.multiply_accumulates / 1e9:.1f}" == billions
