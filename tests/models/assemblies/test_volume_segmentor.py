"""VolumeSegmentor: its modes, MMEngine's training step, and parts that do not fit."""

from contextlib import contextmanager

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from densekit.errors import ConfigError
from densekit.models.assemblies import VolumeSegmentor
from densekit.models.backbones import DFormer
from densekit.models.heads import LogitsHead, PatchExpandingHead
from densekit.models.necks import DFormerDecoder
from densekit.registry import MODELS

BACKBONE = {
    "type": "DFormer",
    "widths": (8, 16),
    "depths": (2, 2),
    "heads": (1, 2),
    "patch": (1, 2, 2),
    "unit": (2, 4, 4),
}
NECK = {"type": "DFormerDecoder", "in_channels": (8, 16), "depths": (2,), "heads": (1,), "patch": (1, 2, 2)}
HEAD = {"type": "PatchExpandingHead", "in_channels": (8,), "num_classes": 3, "patch": (1, 2, 2), "deep_supervision": 1}


def batch(size=(4, 8, 12), number=2):
    return {
        "inputs": torch.randn(number, 1, *size),
        "data_samples": {
            "label": torch.randint(0, 3, (number, *size), dtype=torch.uint8),
            "case_id": [f"case{i}" for i in range(number)],
            "spacing": torch.tensor([[3.0, 1.0, 1.0]] * number),
        },
    }


def test_built_from_a_config_of_names():
    model = MODELS.build({"type": "VolumeSegmentor", "backbone": BACKBONE, "neck": NECK, "head": HEAD})
    assert (model.in_channels, model.num_classes) == (1, 3)
    assert model(torch.randn(1, 1, 4, 8, 8))[0].shape == (1, 3, 4, 8, 8)


def test_the_neck_may_be_left_out():
    model = VolumeSegmentor(BACKBONE, head=HEAD)
    assert model(torch.randn(1, 1, 4, 8, 8))[0].shape == (1, 3, 4, 8, 8)


class MixedPrecision(OptimWrapper):
    """What MMEngine's AmpOptimWrapper does around the losses; it refuses to be built on a machine without a GPU."""

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield


@pytest.mark.parametrize("wrapper", [OptimWrapper, MixedPrecision])
def test_training_step_of_mmengine_lowers_the_loss(small_dformer, wrapper):
    model, data = small_dformer().train(), batch()
    optim = wrapper(torch.optim.AdamW(model.parameters(), lr=2e-3))
    logs = [model.train_step(data, optim) for _ in range(12)]
    assert set(logs[0]) == {"loss", "loss_ce", "loss_dice"}
    assert logs[0]["loss"].dtype == torch.float32
    assert logs[-1]["loss"] < logs[0]["loss"]


def build(backbone=BACKBONE, neck=NECK, head=HEAD, **options):
    return VolumeSegmentor(backbone, neck=neck, head=head, **options)


class Flat(nn.Module):
    spatial_dims = 2
    in_channels, in_strides = (8, 16), ((2, 2), (4, 4))
    out_channels, out_strides = (8, 16), ((2, 2), (4, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: build(neck={**NECK, "in_channels": (8, 16, 32), "depths": (1, 1), "heads": (1, 1)}),
            r"DFormer -> DFormerDecoder: DFormer gives 2 levels with channels \(8, 16\), DFormerDecoder is set to "
            r"take 3 with channels \(8, 16, 32\); set DFormerDecoder to channels \(8, 16\)",
        ),
        (
            lambda: build(neck={**NECK, "in_channels": (8, 32)}),
            r"DFormer gives channels \(8, 16\), DFormerDecoder is set to take \(8, 32\)",
        ),
        (
            lambda: build(neck={**NECK, "patch": (2, 2, 2)}),
            r"DFormer gives strides \(\(1, 2, 2\), .*set to take \(\(2, 2, 2\)",
        ),
        (
            lambda: build(head={**HEAD, "patch": (2, 2, 2)}),
            "DFormerDecoder -> PatchExpandingHead: DFormerDecoder gives strides",
        ),
        (
            lambda: build(head={**HEAD, "in_channels": (8, 16), "deep_supervision": 2}),
            "DFormerDecoder gives 1 levels with channels .* PatchExpandingHead is set to take 2",
        ),
        (
            lambda: build(head={"type": "LogitsHead", "num_classes": 3}),
            r"gives channels \(8,\), LogitsHead is set to take \(3,\)",
        ),
        (lambda: build(neck=Flat()), "DFormer -> Flat: the first works on 3D data, the second on 2D"),
        (lambda: build(backbone=Flat(), neck=None), "take a 2D PatchExpandingHead or a 3D Flat"),
        (lambda: build(backbone=nn.Identity()), "Identity does not say its `spatial_dims`"),
        (
            lambda: build(backbone={**BACKBONE, "depth": (2, 2)}),
            "DFormer takes no argument 'depth'; did you mean 'depths'",
        ),
        (lambda: build(neck={**NECK, "type": "DFormerDecoder3d"}), "did you mean 'DFormerDecoder'"),
    ],
)
def test_parts_that_do_not_fit_name_both_and_what_would(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: m(torch.randn(1, 2, 4, 8, 8)),
            r"DFormer takes volumes \(B, 1, D, H, W\) and was given \(1, 2, 4, 8, 8\)",
        ),
        (lambda m: m(torch.randn(1, 4, 8, 8)), r"was given \(1, 4, 8, 8\)"),
        (lambda m: m(torch.randn(1, 1, 4, 8, 8), mode="test"), "mode='test', expected one of tensor, loss;"),
        (lambda m: m(torch.randn(1, 1, 4, 8, 8), mode="predict"), "whole scans are predicted by .*VolumePredictor"),
    ],
)
def test_wrong_calls_say_what_is_expected(call, message):
    with pytest.raises(ConfigError, match=message):
        call(build())


def test_parts_work_without_registry():
    backbone = DFormer(1, widths=(8, 16), depths=(1, 1), heads=(1, 1), patch=(1, 2, 2), unit=(2, 4, 4))
    neck = DFormerDecoder((8, 16), depths=(1,), heads=(1,), patch=(1, 2, 2), unit=(2, 4, 4))
    head = PatchExpandingHead((8,), 2, patch=(1, 2, 2), deep_supervision=1)
    logits = head(neck(backbone(torch.randn(1, 1, 4, 8, 8))), size=(4, 8, 8))
    assert logits[0].shape == (1, 2, 4, 8, 8)
    assert LogitsHead(2).predict(logits, (3, 8, 8)).shape == (1, 2, 3, 8, 8)
