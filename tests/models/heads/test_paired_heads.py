"""Heads that read SEPC's pairs: losses and predictions are MMDetection's, each map goes to its own predictor."""

import pytest
import torch

from densekit.errors import ConfigError
from densekit.models.assemble import assemble
from densekit.models.heads import paired_heads

HEADS = ["RetinaHead", "FreeAnchorRetinaHead", "FSAFHead", "ATSSHead", "GFLHead", "FCOSHead"]
BACKBONE = {"type": "ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
FPN = {"type": "FPN", "out_channels": 32}
SEPC = {"type": "SEPC", "num_pconvs": 2}


def detector_config(name, **sepc):
    return assemble(
        backbone=BACKBONE, neck=[FPN, {**SEPC, **sepc}], head=f"SEPC{name}", num_classes=3, test_cfg={"score_thr": 0.0}
    )


def paired(name, **options):
    if name in ("ATSSHead", "GFLHead"):
        options["anchor_generator"] = {
            "type": "AnchorGenerator", "octave_base_scale": 8, "scales_per_octave": 1, "ratios": [1.0],
            "strides": [8, 16, 32, 64, 128],
        }  # fmt: skip
    return getattr(paired_heads, f"SEPC{name}")(num_classes=3, in_channels=16, **options)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("name", HEADS)
def test_losses_and_predictions(name, padding, build_detector, toy_batch):
    size = {"height": 64, "width": 96} if padding else {"height": 320, "width": 320}
    model = build_detector(detector_config(name, lcconv_padding=padding)).train()
    data = model.data_preprocessor(toy_batch(**size), training=True)
    total, parts = model.parse_losses(model(**data, mode="loss"))
    total.backward()
    assert torch.isfinite(total) and all(value.ndim == 0 for value in parts.values())
    unused = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused
    with torch.no_grad():
        (found,) = model.eval().test_step(toy_batch(images=1, **size))
    found = found.pred_instances
    assert len(found) > 0 and torch.isfinite(found.bboxes).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all() and (found.labels < 3).all()


@pytest.mark.parametrize("name", HEADS)
def test_each_map_goes_to_its_own_predictor(name):
    head = paired(name)
    for parameter in head.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    head.eval()
    sizes = [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)]
    levels = [tuple(torch.randn(1, 16, *size) for _ in range(2)) for size in sizes]
    before = head(levels)
    other_cls = head([(torch.randn_like(cls), loc) for cls, loc in levels])
    other_loc = head([(cls, torch.randn_like(loc)) for cls, loc in levels])
    scores, boxes = 0, 1
    assert torch.equal(before[boxes][0], other_cls[boxes][0]) and torch.equal(before[scores][0], other_loc[scores][0])
    assert not torch.equal(before[scores][0], other_cls[scores][0])
    assert not torch.equal(before[boxes][0], other_loc[boxes][0])


@pytest.mark.parametrize(("on_boxes", "reads"), [(True, 1), (False, 0)])
def test_centerness_of_fcos_reads_the_map_it_is_set_to(on_boxes, reads):
    head = paired("FCOSHead", centerness_on_reg=on_boxes).eval()
    pair = [torch.randn(1, 16, 4, 4), torch.randn(1, 16, 4, 4)]
    centerness = head([tuple(pair)])[2][0]
    pair[1 - reads] = torch.randn_like(pair[1 - reads])
    assert torch.equal(centerness, head([tuple(pair)])[2][0])


@pytest.mark.parametrize("name", HEADS)
def test_there_are_predictors_only(name):
    assert not any("cls_convs" in n or "reg_convs" in n for n, _ in paired(name).named_parameters())
    for tower in ({"stacked_convs": 4}, {"feat_channels": 32}):
        with pytest.raises(ConfigError, match="stacked_convs is 0 and feat_channels is in_channels=16"):
            paired(name, **tower)


def test_predictors_of_retinanet_keep_their_names_and_number():
    with torch.device("meta"):
        head = paired_heads.SEPCRetinaHead(num_classes=80, in_channels=256)
    shapes = {name: tuple(p.shape) for name, p in head.named_parameters()}
    assert shapes["retina_cls.weight"] == (720, 256, 3, 3) and shapes["retina_reg.weight"] == (36, 256, 3, 3)
    assert sum(p.numel() for p in head.parameters()) == 1_742_580
