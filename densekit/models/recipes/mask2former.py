"""Mask2Former (Cheng et al. 2022, arXiv 2112.01527) as a semantic segmentor, in MMSegmentation's values."""

from typing import Any

from densekit.models.recipes.segmentation import SegmentorRecipe

WIDTH = 256
_ENCODING = {"num_feats": WIDTH // 2, "normalize": True}
_RELU = {"type": "ReLU", "inplace": True}


def _attention(**more: Any) -> dict[str, Any]:
    return {"embed_dims": WIDTH, "num_heads": 8, "batch_first": True, **more}


def _feed_forward(width: int) -> dict[str, Any]:
    return {"embed_dims": WIDTH, "feedforward_channels": width, "num_fcs": 2, "ffn_drop": 0.0, "act_cfg": _RELU}


_PLAIN = _attention(attn_drop=0.0, proj_drop=0.0)
_ENCODER_LAYER = {
    "self_attn_cfg": _attention(num_levels=3, num_points=4, dropout=0.0),
    "ffn_cfg": _feed_forward(1024),
}
_DECODER_LAYER = {"self_attn_cfg": _PLAIN, "cross_attn_cfg": _PLAIN, "ffn_cfg": _feed_forward(2048)}
_MASK_LOSS = {"type": "mmdet.CrossEntropyLoss", "use_sigmoid": True, "reduction": "mean", "loss_weight": 5.0}
_DICE_LOSS = {
    "type": "mmdet.DiceLoss",
    "use_sigmoid": True,
    "activate": True,
    "reduction": "mean",
    "naive_dice": True,
    "eps": 1.0,
    "loss_weight": 5.0,
}
_COSTS = [
    {"type": "mmdet.ClassificationCost", "weight": 2.0},
    {"type": "mmdet.CrossEntropyLossCost", "weight": 5.0, "use_sigmoid": True},
    {"type": "mmdet.DiceCost", "weight": 5.0, "pred_act": True, "eps": 1.0},
]

MASK2FORMER = SegmentorRecipe(
    head={
        "feat_channels": WIDTH,
        "out_channels": WIDTH,
        "num_queries": 100,
        "num_transformer_feat_level": 3,
        "align_corners": False,
        "enforce_decoder_input_project": False,
        "positional_encoding": _ENCODING,
        "pixel_decoder": {
            "type": "mmdet.MSDeformAttnPixelDecoder",
            "num_outs": 3,
            "norm_cfg": {"type": "GN", "num_groups": 32},
            "act_cfg": {"type": "ReLU"},
            "encoder": {"num_layers": 6, "layer_cfg": _ENCODER_LAYER},
            "positional_encoding": _ENCODING,
        },
        "transformer_decoder": {"return_intermediate": True, "num_layers": 9, "layer_cfg": _DECODER_LAYER},
        "loss_cls": {
            "type": "mmdet.CrossEntropyLoss",
            "use_sigmoid": False,
            "loss_weight": 2.0,
            "reduction": "mean",
        },
        "loss_mask": _MASK_LOSS,
        "loss_dice": _DICE_LOSS,
        "train_cfg": {
            "num_points": 12544,
            "oversample_ratio": 3.0,
            "importance_sample_ratio": 0.75,
            "assigner": {"type": "mmdet.HungarianAssigner", "match_costs": _COSTS},
            "sampler": {"type": "mmdet.MaskPseudoSampler"},
        },
    },
    nothing_weight=0.1,
)
