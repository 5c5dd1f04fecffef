"""VWFormer's decoder before MaskFormer and Mask2Former, inside the stock heads."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from densekit.errors import ConfigError
from densekit.models.cost import parameter_count
from densekit.models.heads.vwformer import VWHead
from densekit.models.heads.vwformer_masks import (
    VWDeformablePixelDecoder,
    VWMaskFormerPixelDecoder,
    VWPixelDecoder,
    rename_official,
)
from densekit.models.on_meta import on_meta

SMALL = (4, 8, 12, 16)
NARROW = {"width": 64, "low_width": 6, "norm_cfg": {"type": "GN", "num_groups": 4}}
ENCODER = ConfigDict(
    num_layers=6,
    layer_cfg={
        "self_attn_cfg": {"embed_dims": 32, "num_heads": 4, "num_levels": 3, "num_points": 2, "batch_first": True},
        "ffn_cfg": {"embed_dims": 32, "feedforward_channels": 16, "num_fcs": 2, "ffn_drop": 0.0},
    },
)
ATTENTION = {"embed_dims": 32, "num_heads": 4, "batch_first": True}
TRANSFORMER = {
    "return_intermediate": True,
    "num_layers": 3,
    "layer_cfg": {
        "self_attn_cfg": ATTENTION,
        "cross_attn_cfg": ATTENTION,
        "ffn_cfg": {"embed_dims": 32, "feedforward_channels": 16, "num_fcs": 2},
    },
    "init_cfg": None,
}
POSITIONS = {"num_feats": 16, "normalize": True}
OWN = {"VWDeformablePixelDecoder": {"encoder": ENCODER, "positional_encoding": POSITIONS}}
COSTS = [{"type": "mmdet.ClassificationCost"}, {"type": "mmdet.DiceCost", "pred_act": True}]


def pyramid(height, width, batch=2):
    sizes = zip(SMALL, (4, 8, 16, 32), strict=True)
    return [torch.randn(batch, c, height // s, width // s) for c, s in sizes]


def head(kind, pixel_decoder):
    decoder = {"type": f"densekit.{pixel_decoder}", "decoder": NARROW, "encoder": ENCODER, **OWN.get(pixel_decoder, {})}
    if kind == "MaskFormerHead":
        del decoder["encoder"]
    config = {
        "type": kind,
        "in_channels": list(SMALL),
        "feat_channels": 32,
        "out_channels": 32,
        "num_classes": 3,
        "num_queries": 5,
        "pixel_decoder": decoder,
        "positional_encoding": POSITIONS,
        "transformer_decoder": TRANSFORMER,
        "loss_cls": {"type": "mmdet.CrossEntropyLoss", "class_weight": [1.0] * 3 + [0.1]},
        "loss_mask": {"type": "mmdet.FocalLoss" if kind == "MaskFormerHead" else "mmdet.CrossEntropyLoss",
                      "use_sigmoid": True},
        "loss_dice": {"type": "mmdet.DiceLoss", "activate": True, "naive_dice": True},
        "train_cfg": {
            "num_points": 64,
            "oversample_ratio": 3.0,
            "importance_sample_ratio": 0.75,
            "assigner": {"type": "mmdet.HungarianAssigner", "match_costs": COSTS},
            "sampler": {"type": "mmdet.MaskPseudoSampler"},
        },
    }  # fmt: skip
    with DefaultScope.overwrite_default_scope("mmseg"):
        built = MODELS.build(ConfigDict(config))
    built.init_weights()
    return built


@pytest.mark.parametrize(
    ("kind", "pixel_decoder"),
    [
        ("MaskFormerHead", "VWMaskFormerPixelDecoder"),
        ("Mask2FormerHead", "VWPixelDecoder"),
        ("Mask2FormerHead", "VWDeformablePixelDecoder"),
    ],
)
def test_stock_heads_train_and_predict_with_it(kind, pixel_decoder):
    built = head(kind, pixel_decoder)
    meta = {"img_shape": (64, 96), "ori_shape": (64, 96), "pad_shape": (64, 96), "batch_input_shape": (64, 96)}
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, 64, 96))), metainfo=meta) for _ in range(2)
    ]
    maps = pyramid(64, 96)
    losses = built.loss(maps, samples, None)
    sum(loss for name, loss in losses.items() if "loss" in name).backward()
    assert {n for n, p in built.pixel_decoder.named_parameters() if p.grad is None} == set()
    assert built.eval().predict(maps, [meta] * 2, {}).shape == (2, 3, 64, 96)


def test_it_is_the_decoder_of_the_heads():
    """With the norms of the heads, and no bias before them, the mask features are what a head classifies."""
    options = {"width": 64, "low_width": 6}
    torch.manual_seed(0)
    classified = VWHead(SMALL, num_classes=3, preset="cityscapes", channels=8, **options).eval()
    own = {**options, "norm_cfg": {"type": "BN"}, "image_pool": False, "scaling_bias": False}
    decoder = VWPixelDecoder(SMALL, 32, 8, decoder=own).eval()
    decoder.decoder.load_state_dict(classified.decoder.state_dict())
    maps = pyramid(64, 128)
    features, outputs = decoder(maps)
    assert torch.equal(classified.conv_seg(features), classified(maps))
    assert [tuple(x.shape) for x in outputs] == [(2, 32, 2, 4), (2, 32, 4, 8), (2, 32, 8, 16)]


@pytest.mark.parametrize("kind", [VWPixelDecoder, VWMaskFormerPixelDecoder])
def test_the_norm_that_layers_share(kind):
    shared, own = (kind(SMALL, 32, 32, share_norm=share, decoder=NARROW) for share in (True, False))
    names = ("projections.1", "projections.2", "projections.3", "fuse", "short_path", "image_pool", "merge")
    parts = [shared.decoder.get_submodule(name) for name in names]
    assert {id(part.gn) for part in parts} == {id(shared.decoder.fuse.gn)}
    assert shared.decoder.enhance.gn is not shared.decoder.fuse.gn
    # Under the same names, but six weights and biases fewer.
    assert shared.state_dict().keys() == own.state_dict().keys()
    assert parameter_count(own) - parameter_count(shared) == 6 * 2 * 64


# --- released weights -------------------------------------------------------------------------------------------------
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def official_keys(kind):
    """Of the authors' pixel decoders, which stand on detectron2's layers."""
    end = "" if kind is VWMaskFormerPixelDecoder else "_0"
    pool = [] if kind is VWDeformablePixelDecoder else [f"image_pool{end}.1"]
    wide = ["linear_c2", "linear_c3", "linear_c4", "linear_fuse", f"short_path{end}", *pool, f"cat{end}"]
    wide += ["low_level_fuse", *(f"proj.{i}" for i in range(3) if kind is VWPixelDecoder)]
    keys = [f"{name}.{part}" for name in wide for part in ("weight", "norm.weight", "norm.bias")]
    for name in ("linear_c1", *(f"ds{end}.{i}" for i in range(3))):
        keys += [f"{name}.weight", f"{name}.norm.weight", f"{name}.norm.bias"]
        keys += [f"{name}.norm.{part}" for part in STATISTICS]
        keys += [] if name == "linear_c1" else [f"{name}.bias"]
    for i in range(3):
        keys += [f"attn{end}.{i}.{part}" for part in ("in_proj_weight", "in_proj_bias")]
        keys += [f"attn{end}.{i}.out_proj.{part}" for part in ("weight", "bias")]
    if kind is VWDeformablePixelDecoder:
        parts = ["sampling_offsets", "attention_weights", "value_proj", "output_proj"]
        parts = [f"self_attn.{part}" for part in parts] + ["norm1", "norm2", "linear1", "linear2"]
        names = [f"transformer.encoder.layers.{i}.{part}" for i in range(6) for part in parts]
        names += [f"input_proj.{i}.{part}" for i in range(3) for part in range(2)]
        keys += ["transformer.level_embed", *(f"{name}.{part}" for name in names for part in ("weight", "bias"))]
    return keys


@pytest.mark.parametrize("kind", [VWPixelDecoder, VWMaskFormerPixelDecoder, VWDeformablePixelDecoder])
def test_released_keys(kind):
    options = {"encoder": ENCODER, "positional_encoding": POSITIONS} if kind is VWDeformablePixelDecoder else {}
    with on_meta():
        decoder = kind(SMALL, 32, 32, share_norm=True, decoder=NARROW, **options)
    ours = {key for key in decoder.state_dict() if not key.startswith("memory.")}  # of the head in the release
    assert set(rename_official(dict.fromkeys(official_keys(kind)))) == ours


def test_maps_that_are_not_four():
    with pytest.raises(ConfigError, match="VWPixelDecoder takes four maps"):
        VWPixelDecoder(SMALL[1:])
    with pytest.raises(ConfigError, match="which gives 3"):
        VWPixelDecoder(SMALL, decoder=NARROW)(pyramid(64, 64)[1:])
