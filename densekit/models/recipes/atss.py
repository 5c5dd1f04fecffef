"""ATSS (Zhang et al. 2020, arXiv 1912.02424), and GFL (Li et al. 2020, arXiv 2006.04388), assigned as ATSS does."""

from dataclasses import replace

from densekit.models.recipes.common import FOCAL, Recipe, anchors, coder, dense_test, dense_train

ATSS = Recipe(
    detector="ATSS",
    add_extra_convs="on_output",
    head={
        "anchor_generator": anchors(8, 1, [1.0]),
        "bbox_coder": coder(0.1, 0.1, 0.2, 0.2),
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    },
    train_cfg=dense_train({"type": "ATSSAssigner", "topk": 9}),
    test_cfg=dense_test(0.6),
)
GFL = replace(
    ATSS,
    detector="GFL",
    head={
        "anchor_generator": anchors(8, 1, [1.0]),
        "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        "loss_dfl": {"type": "DistributionFocalLoss", "loss_weight": 0.25},
        "reg_max": 16,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
    },
)
