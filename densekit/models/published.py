"""The published settings of the 2D detectors, by the name of their head; :mod:`densekit.models.assemble` fills them in.

Numbers that follow from the other parts (channels, strides, class counts, levels) are not here: they are wired. Sources
are the papers, in the values MMDetection's own configs reproduce them with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ONE_STAGE_STRIDE = 8
TWO_STAGE_STRIDE = 4
"""Stride of the finest level: RetinaNet's pyramid is P3 to P7, Faster R-CNN's P2 to P6."""
NUM_LEVELS = 5

PREPROCESSOR = {
    "type": "mmdet.DetDataPreprocessor",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "bgr_to_rgb": True,
    "pad_size_divisor": 32,
}
"""Mean and SD of ImageNet, RGB, as torchvision's weights expect."""

FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}


def _nms(threshold: float) -> dict[str, Any]:
    return {"type": "nms", "iou_threshold": threshold}


def _coder(*stds: float) -> dict[str, Any]:
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0, 0.0, 0.0, 0.0], "target_stds": list(stds)}


def _anchors(scale: int, per_octave: int, ratios: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "AnchorGenerator",
        "octave_base_scale": scale,
        "scales_per_octave": per_octave,
        "ratios": list(ratios),
    }


def _iou_assigner(positive: float, negative: float, minimum: float, **more: Any) -> dict[str, Any]:
    return {
        "type": "MaxIoUAssigner",
        "pos_iou_thr": positive,
        "neg_iou_thr": negative,
        "min_pos_iou": minimum,
        "ignore_iof_thr": -1,
        **more,
    }


def _dense_train(assigner: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"assigner": assigner, **more, "allowed_border": -1, "pos_weight": -1, "debug": False}


def _dense_test(nms_threshold: float) -> dict[str, Any]:
    return {
        "nms_pre": 1000,
        "min_bbox_size": 0,
        "score_thr": 0.05,
        "nms": _nms(nms_threshold),
        "max_per_img": 100,
    }


# RetinaNet (Lin et al. 2017, arXiv 1708.02002). L1 is what MMDetection's 36.5 AP is reached with; the paper has smooth
# L1 with beta 0.11. FreeAnchor (Zhang et al. 2019, arXiv 1909.02466), FSAF (Zhu et al. 2019, arXiv 1903.00621).
RETINANET = {
    "detector": "RetinaNet",
    "add_extra_convs": "on_input",
    "head": {
        "anchor_generator": _anchors(4, 3, [0.5, 1.0, 2.0]),
        "bbox_coder": _coder(1.0, 1.0, 1.0, 1.0),
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    },
    "train_cfg": _dense_train(_iou_assigner(0.5, 0.4, 0), sampler={"type": "PseudoSampler"}),
    "test_cfg": _dense_test(0.5),
}
FREE_ANCHOR = {
    **RETINANET,
    "head": {
        "anchor_generator": _anchors(4, 3, [0.5, 1.0, 2.0]),
        "bbox_coder": _coder(0.1, 0.1, 0.2, 0.2),
        "loss_bbox": {"type": "SmoothL1Loss", "beta": 0.11, "loss_weight": 0.75},
    },
}
FSAF = {
    **RETINANET,
    "detector": "FSAF",
    "head": {
        "reg_decoded_bbox": True,
        "anchor_generator": _anchors(1, 1, [1.0]),
        "bbox_coder": {"type": "TBLRBBoxCoder", "normalizer": 4.0},
        "loss_cls": {**FOCAL, "reduction": "none"},
        "loss_bbox": {"type": "IoULoss", "eps": 1e-6, "loss_weight": 1.0, "reduction": "none"},
    },
    "train_cfg": _dense_train(
        {"type": "CenterRegionAssigner", "pos_scale": 0.2, "neg_scale": 0.2, "min_pos_iof": 0.01},
        sampler={"type": "PseudoSampler"},
    ),
}

# ATSS (Zhang et al. 2020, arXiv 1912.02424), GFL (Li et al. 2020, arXiv 2006.04388).
ATSS = {
    "detector": "ATSS",
    "add_extra_convs": "on_output",
    "head": {
        "anchor_generator": _anchors(8, 1, [1.0]),
        "bbox_coder": _coder(0.1, 0.1, 0.2, 0.2),
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    },
    "train_cfg": _dense_train({"type": "ATSSAssigner", "topk": 9}),
    "test_cfg": _dense_test(0.6),
}
GFL = {
    **ATSS,
    "detector": "GFL",
    "head": {
        "anchor_generator": _anchors(8, 1, [1.0]),
        "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        "loss_dfl": {"type": "DistributionFocalLoss", "loss_weight": 0.25},
        "reg_max": 16,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
    },
}

# FCOS (Tian et al., arXiv 1904.01355 and 2006.09214) with the later paper's improvements: center sampling, GIoU loss,
# distances in units of the stride, centerness beside the boxes.
FCOS = {
    "detector": "FCOS",
    "add_extra_convs": "on_output",
    "relu_before_extra_convs": True,
    "head": {
        "center_sampling": True,
        "norm_on_bbox": True,
        "centerness_on_reg": True,
        "conv_bias": True,
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    },
    "train_cfg": None,
    "test_cfg": _dense_test(0.6),
}

# Faster R-CNN with FPN (Lin et al. 2017, arXiv 1612.03144), Mask R-CNN (He et al. 2017, arXiv 1703.06870), Cascade
# R-CNN (Cai and Vasconcelos 2018, arXiv 1712.00726).
CROSS_ENTROPY = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}


def _roi_extractor(size: int) -> dict[str, Any]:
    roi_layer = {"type": "RoIAlign", "output_size": size, "sampling_ratio": 0}
    return {"type": "SingleRoIExtractor", "roi_layer": roi_layer}


def _box_head(*stds: float, class_agnostic: bool, loss: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Shared2FCBBoxHead",
        "fc_out_channels": 1024,
        "bbox_coder": _coder(*stds),
        "reg_class_agnostic": class_agnostic,
        "loss_cls": CROSS_ENTROPY,
        "loss_bbox": loss,
    }


def _sampler(number: int, positive: float, *, add_truth: bool) -> dict[str, Any]:
    return {
        "type": "RandomSampler",
        "num": number,
        "pos_fraction": positive,
        "neg_pos_ub": -1,
        "add_gt_as_proposals": add_truth,
    }


def _rcnn_train(threshold: float) -> dict[str, Any]:
    return {
        "assigner": _iou_assigner(threshold, threshold, threshold, match_low_quality=False),
        "sampler": _sampler(512, 0.25, add_truth=True),
        "pos_weight": -1,
        "debug": False,
    }


def _proposals(before: int, after: int) -> dict[str, Any]:
    return {"nms_pre": before, "max_per_img": after, "nms": _nms(0.7), "min_bbox_size": 0}


RPN_TRAIN = {
    "assigner": _iou_assigner(0.7, 0.3, 0.3, match_low_quality=True),
    "sampler": _sampler(256, 0.5, add_truth=False),
    "allowed_border": -1,
    "pos_weight": -1,
    "debug": False,
}
RPN = {
    "type": "RPNHead",
    "anchor_generator": {"type": "AnchorGenerator", "scales": [8], "ratios": [0.5, 1.0, 2.0]},
    "bbox_coder": _coder(1.0, 1.0, 1.0, 1.0),
    "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
}
RCNN_TEST = {"score_thr": 0.05, "nms": _nms(0.5), "max_per_img": 100}

FASTER_RCNN = {
    "detector": "FasterRCNN",
    "rpn_head": RPN,
    "head": {
        "bbox_roi_extractor": _roi_extractor(7),
        "bbox_head": _box_head(0.1, 0.1, 0.2, 0.2, class_agnostic=False, loss={"type": "L1Loss", "loss_weight": 1.0}),
    },
    "train_cfg": {"rpn": RPN_TRAIN, "rpn_proposal": _proposals(2000, 1000), "rcnn": _rcnn_train(0.5)},
    "masks_train_cfg": {"mask_size": 28, "assigner": {"match_low_quality": True}},
    "test_cfg": {"rpn": _proposals(1000, 1000), "rcnn": RCNN_TEST},
}
CASCADE_STDS = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
CASCADE_RCNN = {
    "detector": "CascadeRCNN",
    "rpn_head": {**RPN, "loss_bbox": {"type": "SmoothL1Loss", "beta": 1 / 9, "loss_weight": 1.0}},
    "head": {
        "num_stages": 3,
        "stage_loss_weights": [1, 0.5, 0.25],
        "bbox_roi_extractor": _roi_extractor(7),
        "bbox_head": [
            _box_head(*stds, class_agnostic=True, loss={"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0})
            for stds in CASCADE_STDS
        ],
    },
    "train_cfg": {
        "rpn": {**RPN_TRAIN, "allowed_border": 0},
        "rpn_proposal": _proposals(2000, 2000),
        "rcnn": [_rcnn_train(threshold) for threshold in (0.5, 0.6, 0.7)],
    },
    "masks_train_cfg": {"mask_size": 28},
    "test_cfg": {"rpn": _proposals(1000, 1000), "rcnn": RCNN_TEST},
}
MASKS = {
    "mask_roi_extractor": _roi_extractor(14),
    "mask_head": {
        "type": "FCNMaskHead",
        "num_convs": 4,
        "conv_out_channels": 256,
        "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
    },
}
"""What a region head has besides where it predicts masks."""
MASKS_TEST = {"mask_thr_binary": 0.5}

HEADS: dict[str, dict[str, Any]] = {
    "RetinaHead": RETINANET,
    "FreeAnchorRetinaHead": FREE_ANCHOR,
    "FSAFHead": FSAF,
    "ATSSHead": ATSS,
    "GFLHead": GFL,
    "FCOSHead": FCOS,
    "StandardRoIHead": FASTER_RCNN,
    "CascadeRoIHead": CASCADE_RCNN,
}

# With the regions of a two-stage detector the authors use the plain convolution only (arXiv 2005.03101).
TWO_STAGE_NECKS: dict[str, dict[str, Any]] = {
    "SEPC": {"ibn": False, "pconv_deform": False, "lcconv_deform": False, "with_lc_convs": False},
}


def resnet(depth: int, *, scratch: bool) -> dict[str, Any]:
    """A ResNet of MMDetection: with torchvision's weights, first stage and batch norm frozen; or nothing of that."""
    return {
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "frozen_stages": -1 if scratch else 1,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "norm_eval": not scratch,
        "style": "pytorch",
        "init_cfg": {"type": "Pretrained", "checkpoint": f"torchvision://resnet{depth}"},
    }
