"""Parts that stand on MMSegmentation are found by every registry."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from densekit.registry import MODELS

HEADS = ["VWHead", "SegformerPaperHead"]
PIXEL_DECODERS = ["VWPixelDecoder", "VWMaskFormerPixelDecoder", "VWDeformablePixelDecoder"]


@pytest.mark.parametrize("name", HEADS + PIXEL_DECODERS)
def test_every_registry_finds_it(name):
    from mmengine.registry import MODELS as ROOT
    from mmseg.registry import MODELS as THEIRS

    assert MODELS.get(name) is THEIRS.get(f"densekit.{name}") is ROOT.get(f"densekit.{name}")
    assert MODELS.get(name).__name__ == name


@pytest.mark.parametrize("name", HEADS)
def test_a_segmentor_of_mmsegmentation_takes_it(name):
    from mmseg.registry import MODELS as THEIRS
    from mmseg.structures import SegDataSample

    head = {"type": f"densekit.{name}", "in_channels": [8, 16, 32, 64], "num_classes": 3}
    backbone = {
        "type": "mmseg.ResNet",
        "depth": 18,
        "base_channels": 8,
        "dilations": (1, 1, 1, 1),
        "strides": (1, 2, 2, 2),
    }
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = THEIRS.build(
            {"type": "EncoderDecoder", "backbone": backbone, "decode_head": head, "test_cfg": ConfigDict(mode="whole")}
        )
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, 64, 96)))) for _ in range(2)]
    losses = model.loss(torch.randn(2, 3, 64, 96), samples)
    assert losses["decode.loss_ce"] > 0
    assert model.eval().predict(torch.randn(2, 3, 61, 90))[0].pred_sem_seg.data.shape == (1, 61, 90)
