"""Class maps of MMSegmentation's own segmentor, to the pixel, whatever preprocessing did to the images."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from densekit.ops import class_scores
from densekit.registry import MODELS

torch.set_num_threads(1)

PREPROCESSING = {"type": "SegDataPreProcessor", "mean": [120.0] * 3, "std": [60.0] * 3, "bgr_to_rgb": True}
BACKBONE = {
    **{"type": "mmseg.MixVisionTransformer", "embed_dims": 8, "num_layers": [1] * 4, "num_heads": [1] * 4},
    **{"sr_ratios": [4, 2, 1, 1], "patch_sizes": [7, 3, 3, 3], "out_indices": (0, 1, 2, 3), "mlp_ratio": 2},
}


def segmentor(kind, classes, align_corners, test_cfg):
    """With the same weights, whichever kind."""
    torch.manual_seed(7)
    head = {"type": "SegformerHead", "in_channels": [8] * 4, "in_index": [0, 1, 2, 3], "channels": 16}
    head |= {"num_classes": classes, "align_corners": align_corners, "dropout_ratio": 0.0}
    head |= {"norm_cfg": {"type": "BN"}, "loss_decode": {"type": "CrossEntropyLoss"}}
    with DefaultScope.overwrite_default_scope("mmseg"):
        config = {"type": kind, "data_preprocessor": {**PREPROCESSING, "test_cfg": {"size_divisor": 32}}}
        parts = {"backbone": BACKBONE, "decode_head": head, "test_cfg": test_cfg}
        model = MODELS.build(ConfigDict({**config, **parts}))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize("classes", [2, 13])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["whole", "slide"])
@pytest.mark.parametrize("scaled", [False, True])
def test_no_pixel_differs_from_mmsegmentations(monkeypatch, classes, align_corners, mode, scaled):
    from mmseg.structures import SegDataSample

    monkeypatch.setattr(class_scores, "_VALUES", 100_000)
    stock = {"mode": mode, "crop_size": (64, 64), "stride": (40, 48)}
    ours = {"mode": mode, "crop": (64, 64), "stride": (40, 48), "blend": "mean"}
    theirs = segmentor("mmseg.EncoderDecoder", classes, align_corners, stock)
    model = segmentor("densekit.SemanticSegmentor", classes, align_corners, ours)
    torch.manual_seed(1)
    image = torch.randint(0, 256, (3, 100, 140), dtype=torch.uint8)
    facts = {"ori_shape": (151, 203) if scaled else (100, 140), "img_shape": (100, 140)}
    facts |= {"flip": True, "flip_direction": "horizontal"} if scaled else {}
    maps = []
    for network in (theirs, model):
        sample = SegDataSample(metainfo=facts)
        with torch.no_grad(), DefaultScope.overwrite_default_scope("mmseg"):
            found = network.test_step({"inputs": [image], "data_samples": [sample]})[0]
        maps.append(found.pred_sem_seg.data)
    assert maps[1].dtype == torch.uint8 and maps[1].shape == (1, *facts["ori_shape"])
    assert len(maps[0].unique()) > 1 and torch.equal(maps[0].long(), maps[1].long())


def test_without_samples_maps_have_the_size_of_the_images():
    model = segmentor("densekit.SemanticSegmentor", 5, False, {})
    with torch.no_grad():
        found = model.predict(torch.randn(2, 3, 64, 96))
    assert [tuple(sample.pred_sem_seg.data.shape) for sample in found] == [(1, 64, 96)] * 2
