"""R-CNN: Faster R-CNN with FPN (Lin et al. 2017, arXiv 1612.03144), Mask R-CNN (He et al. 2017, arXiv 1703.06870),
Cascade R-CNN (Cai and Vasconcelos 2018, arXiv 1712.00726)."""

from __future__ import annotations

from typing import Any

from densekit.models.recipes.common import Recipe, coder, iou_assigner, nms

CROSS_ENTROPY = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}


def _roi_extractor(size: int) -> dict[str, Any]:
    roi_layer = {"type": "RoIAlign", "output_size": size, "sampling_ratio": 0}
    return {"type": "SingleRoIExtractor", "roi_layer": roi_layer}


def _box_head(*stds: float, class_agnostic: bool, loss: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Shared2FCBBoxHead",
        "fc_out_channels": 1024,
        "bbox_coder": coder(*stds),
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
        "assigner": iou_assigner(threshold, threshold, threshold, match_low_quality=False),
        "sampler": _sampler(512, 0.25, add_truth=True),
        "pos_weight": -1,
        "debug": False,
    }


def _proposals(before: int, after: int) -> dict[str, Any]:
    return {"nms_pre": before, "max_per_img": after, "nms": nms(0.7), "min_bbox_size": 0}


RPN_TRAIN = {
    "assigner": iou_assigner(0.7, 0.3, 0.3, match_low_quality=True),
    "sampler": _sampler(256, 0.5, add_truth=False),
    "allowed_border": -1,
    "pos_weight": -1,
    "debug": False,
}
RPN = {
    "type": "RPNHead",
    "anchor_generator": {"type": "AnchorGenerator", "scales": [8], "ratios": [0.5, 1.0, 2.0]},
    "bbox_coder": coder(1.0, 1.0, 1.0, 1.0),
    "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
}
RCNN_TEST = {"score_thr": 0.05, "nms": nms(0.5), "max_per_img": 100}

FASTER_RCNN = Recipe(
    detector="FasterRCNN",
    rpn_head=RPN,
    head={
        "bbox_roi_extractor": _roi_extractor(7),
        "bbox_head": _box_head(0.1, 0.1, 0.2, 0.2, class_agnostic=False, loss={"type": "L1Loss", "loss_weight": 1.0}),
    },
    train_cfg={"rpn": RPN_TRAIN, "rpn_proposal": _proposals(2000, 1000), "rcnn": _rcnn_train(0.5)},
    masks_train_cfg={"mask_size": 28, "assigner": {"match_low_quality": True}},
    test_cfg={"rpn": _proposals(1000, 1000), "rcnn": RCNN_TEST},
)
CASCADE_STDS = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
CASCADE_RCNN = Recipe(
    detector="CascadeRCNN",
    rpn_head={**RPN, "loss_bbox": {"type": "SmoothL1Loss", "beta": 1 / 9, "loss_weight": 1.0}},
    head={
        "num_stages": 3,
        "stage_loss_weights": [1, 0.5, 0.25],
        "bbox_roi_extractor": _roi_extractor(7),
        "bbox_head": [
            _box_head(*stds, class_agnostic=True, loss={"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0})
            for stds in CASCADE_STDS
        ],
    },
    train_cfg={
        "rpn": {**RPN_TRAIN, "allowed_border": 0},
        "rpn_proposal": _proposals(2000, 2000),
        "rcnn": [_rcnn_train(threshold) for threshold in (0.5, 0.6, 0.7)],
    },
    masks_train_cfg={"mask_size": 28},
    test_cfg={"rpn": _proposals(1000, 1000), "rcnn": RCNN_TEST},
)
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

# With the regions of a two-stage detector the authors use the plain convolution only (arXiv 2005.03101).
PLAIN_NECKS: dict[str, dict[str, Any]] = {
    "SEPC": {"ibn": False, "pconv_deform": False, "lcconv_deform": False, "with_lc_convs": False}
}
