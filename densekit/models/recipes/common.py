"""What recipes of 2D detectors are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from densekit.models.variants import IMAGENET_MEAN, IMAGENET_STD

NUM_LEVELS = 5

PREPROCESSOR = {
    "type": "mmdet.DetDataPreprocessor",
    "mean": list(IMAGENET_MEAN),
    "std": list(IMAGENET_STD),
    "bgr_to_rgb": True,
    "pad_size_divisor": 32,
}

FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}


@dataclass(frozen=True)
class Recipe:
    """Published settings of one head.

    Attributes:
        detector: Name of its detector in MMDetection.
        head: Arguments of the head.
        train_cfg: Settings of its training.
        test_cfg: Settings of its predictions.
        add_extra_convs: Where levels beyond the backbone's come from, an argument of the FPN.
        relu_before_extra_convs: As ``add_extra_convs``.
        rpn_head: Head of the proposals; None: a one-stage detector.
        masks_train_cfg: What training with masks adds to ``train_cfg.rcnn``.
    """

    detector: str
    head: Mapping[str, Any]
    train_cfg: Mapping[str, Any] | None
    test_cfg: Mapping[str, Any]
    add_extra_convs: bool | str = False
    relu_before_extra_convs: bool = False
    rpn_head: Mapping[str, Any] | None = None
    masks_train_cfg: Mapping[str, Any] | None = None

    @property
    def two_stage(self) -> bool:
        """Whether proposals come first."""
        return self.rpn_head is not None

    @property
    def finest_stride(self) -> int:
        """Stride of the finest level: RetinaNet's pyramid is P3 to P7, Faster R-CNN's P2 to P6."""
        return 4 if self.two_stage else 8


def nms(threshold: float) -> dict[str, Any]:
    return {"type": "nms", "iou_threshold": threshold}


def coder(*stds: float) -> dict[str, Any]:
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0, 0.0, 0.0, 0.0], "target_stds": list(stds)}


def anchors(scale: int, per_octave: int, ratios: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "AnchorGenerator",
        "octave_base_scale": scale,
        "scales_per_octave": per_octave,
        "ratios": list(ratios),
    }


def iou_assigner(positive: float, negative: float, minimum: float, **more: Any) -> dict[str, Any]:
    return {
        "type": "MaxIoUAssigner",
        "pos_iou_thr": positive,
        "neg_iou_thr": negative,
        "min_pos_iou": minimum,
        "ignore_iof_thr": -1,
        **more,
    }


def dense_train(assigner: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"assigner": assigner, **more, "allowed_border": -1, "pos_weight": -1, "debug": False}


def dense_test(nms_threshold: float) -> dict[str, Any]:
    return {"nms_pre": 1000, "min_bbox_size": 0, "score_thr": 0.05, "nms": nms(nms_threshold), "max_per_img": 100}
