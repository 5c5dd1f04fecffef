"""Every backbone with two decoders and a detection head, every neck with every decoder and dense head.

All of them by ``--full-matrix``; otherwise some, by a seed that the head of the run's report names.
"""

import random

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from densekit.errors import ConfigError
from densekit.models.assemble import assemble
from densekit.models.assemble.backbone import backbone_part
from densekit.models.assemble.parts import ask
from densekit.models.recipes import RECIPES, SEGMENTORS
from densekit.models.variants import VARIANTS
from densekit.registry import MODELS

CLASSES, SIDE = 3, 64
SAMPLED = {"backbone": 6, "neck": 14}
LIGHT = 36
"""Millions of parameters of a backbone that is tried when not all are."""
TIMM = ("convnext_femto", "swin_tiny_patch4_window7_224", "tf_efficientnet_lite0", "pvt_v2_b0", "mobilenetv3_small_100")
R18 = {"type": "ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
FPN = {"type": "FPN", "out_channels": 32}
SEPC = {"type": "SEPC", "num_pconvs": 1}
NECKS = {
    "FPN": [FPN],
    "PAFPN": [{**FPN, "type": "PAFPN"}],
    "PANetNeck": [{**FPN, "type": "PANetNeck"}],
    "RCFPN": [{**FPN, "type": "RCFPN"}],
    "SEPC": [FPN, SEPC],
    "SEPC, one map": [FPN, {**SEPC, "with_lc_convs": False}],
}
DECODERS = {
    **{
        name: {"channels": 8}
        for name in ("FCNHead", "PSPHead", "DepthwiseSeparableASPPHead", "UPerHead", "FPNHead", "SegformerHead")
    },
    "SegformerPaperHead": {"channels": 8},
    "VWHead": {"width": 64, "channels": 8},
    "OCRHead": {"channels": 8, "ocr_channels": 8},
    "LightHamHead": {"channels": 32, "ham_channels": 32},
    "LinearHead": {},
    "mmseg.Mask2FormerHead": {
        "num_queries": 5,
        "transformer_decoder": {"num_layers": 1},
        "pixel_decoder": {"encoder": {"num_layers": 1}},
        "train_cfg": {"num_points": 64},
    },
}
OF_ONE_BACKBONE = {"DDRHead", "SingleStrideDPTHead"}
"""Decoders that stand on certain backbones, and are tried with those elsewhere."""
DENSE = [*RECIPES, *(f"SEPC{name}" for name, recipe in RECIPES.items() if not recipe.two_stage)]
BESIDE = (("SegformerHead", None), ("UPerHead", None), ("RetinaHead", [FPN]))
"""What every backbone is tried with."""
PYRAMID = [{"type": "SimpleFeaturePyramid", "out_channels": 32}]
PLAIN = tuple((head, PYRAMID) for head, _ in BESIDE)
"""What a plain transformer of patches of 16 pixels is tried with."""
SINGLE = (("FCNHead", None), ("LinearHead", None))
"""What one is tried with whose patches make no pyramid."""
SHORT = (("FCNHead", None), ("PSPHead", None), ("RetinaHead", [FPN]))
"""What a pyramid of three levels is tried with."""


def images():
    """Named sizes and networks of timm that take images."""
    named = [name for name in VARIANTS if backbone_part(name, pretrained=False).dims == 2]
    return [*named, *TIMM]


def models_of(name):
    """What a backbone is tried with."""
    plain = name in VARIANTS and len(set(VARIANTS[name].widths)) == 1 and len(VARIANTS[name].widths) > 1
    if not plain:
        return [(name, neck, head) for head, neck in (SHORT if name.startswith("nest_") else BESIDE)]
    if "patch8" in name or "patch32" in name:
        return [(name, neck, head) for head, neck in SINGLE]
    part = {"type": name, "args": {"patch_size": 16}} if "patch14" in name else name
    return [(part, neck, head) for head, neck in PLAIN]


def side_of(backbone):
    """Height and width of the images that a backbone is tried with, None for those that the others have."""
    said = ask(backbone_part(backbone, pretrained=False))
    if said.fixed_size:
        return said.fixed_size[0]
    return max(said.size_multiple) if said.size_multiple and max(said.size_multiple) > SIDE else None


def pytest_generate_tests(metafunc):
    if "backbone" not in metafunc.fixturenames:
        return
    backbones = [model for name in images() for model in models_of(name)]
    necks = [(R18, neck, head) for neck in NECKS for head in (*DECODERS, *DENSE)]
    option = metafunc.config.option
    if not option.full_matrix:
        chance = random.Random(option.matrix_seed)
        names = [b if isinstance(b, str) else b["type"] for b, _, _ in backbones]
        light = [m for m, n in zip(backbones, names, strict=True) if n in TIMM or VARIANTS[n].parameters < LIGHT]
        backbones, necks = chance.sample(light, SAMPLED["backbone"]), chance.sample(necks, SAMPLED["neck"])
    models = [*backbones, *necks]
    ids = [
        f"{b if isinstance(b, str) else b['type']} {n if isinstance(n, str) else named(n)} {h}" for b, n, h in models
    ]
    metafunc.parametrize(("backbone", "neck", "head"), models, ids=ids)


def named(necks):
    return necks if isinstance(necks, str) else necks[0]["type"] if necks else ""


def test_every_decoder_is_tried():
    assert {name.rpartition(".")[2] for name in DECODERS} | OF_ONE_BACKBONE == set(SEGMENTORS)


def pairs_fit(neck, head):
    """SEPC with its pairs serves its own heads alone; in front of regions and decoders it gives one map by itself."""
    paired = neck == "SEPC" and head in DENSE and not head.endswith("RoIHead")
    return paired == head.startswith("SEPC")


def test_it_trains_and_predicts(backbone, neck, head, toy_batch, build_detector):
    necks = NECKS[neck] if isinstance(neck, str) else neck
    part = {"type": head, **DECODERS.get(head, {})}
    parts = {"backbone": backbone, "neck": necks, "head": part, "num_classes": CLASSES, "pretrained": False}
    if isinstance(neck, str) and not pairs_fit(neck, head):
        with pytest.raises(ConfigError, match=rf"\w+ -> {head}: "):
            assemble(**parts)
        return
    model = assemble(**parts)
    side = side_of(backbone)
    if head in DECODERS:
        losses, found = segmented(model, side or SIDE)
    else:
        batch = toy_batch(side, side) if side else toy_batch()
        losses, found = detected(build_detector(model.to_dict()), batch)
    assert torch.isfinite(losses)
    assert len(found) == 2


def segmented(model, side):
    from mmseg.structures import SegDataSample

    with DefaultScope.overwrite_default_scope("mmseg"):
        network = MODELS.build(model)
        images = [torch.randint(0, 256, (3, side, side), dtype=torch.uint8) for _ in range(2)]
        labels = PixelData(data=torch.randint(0, CLASSES, (1, side, side)))
        batch = {"inputs": images, "data_samples": [SegDataSample(gt_sem_seg=labels) for _ in images]}
        loss = stepped(network, network.data_preprocessor(batch, training=True))
        with torch.no_grad():
            found = network.eval()(**network.data_preprocessor(batch), mode="predict")
    assert all(sample.pred_sem_seg.data.shape == (1, side, side) for sample in found)
    return loss, found


def detected(network, batch):
    loss = stepped(network.train(), network.data_preprocessor(batch, training=True))
    network.eval()  # by itself: train() of some backbones returns nothing
    with torch.no_grad():
        return loss, network(**network.data_preprocessor(batch), mode="predict")


def stepped(network, batch):
    """The loss of a batch, once its gradients are computed."""
    loss, _ = network.parse_losses(network(**batch, mode="loss"))
    loss.backward()
    learning = [p for p in network.parameters() if p.requires_grad and p.grad is not None]
    assert learning
    assert all(torch.isfinite(p.grad).all() for p in learning)
    return loss
