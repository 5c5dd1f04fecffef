"""RetinaNet (Lin et al. 2017, arXiv 1708.02002) and what stands on it.

L1 is what MMDetection's 36.5 AP is reached with; the paper has smooth L1 with beta 0.11. FreeAnchor is Zhang et al.
2019, arXiv 1909.02466; FSAF Zhu et al. 2019, arXiv 1903.00621.
"""

from dataclasses import replace

from densekit.models.recipes.common import FOCAL, Recipe, anchors, coder, dense_test, dense_train, iou_assigner

RETINANET = Recipe(
    detector="RetinaNet",
    add_extra_convs="on_input",
    head={
        "anchor_generator": anchors(4, 3, [0.5, 1.0, 2.0]),
        "bbox_coder": coder(1.0, 1.0, 1.0, 1.0),
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    },
    train_cfg=dense_train(iou_assigner(0.5, 0.4, 0), sampler={"type": "PseudoSampler"}),
    test_cfg=dense_test(0.5),
)
FREE_ANCHOR = replace(
    RETINANET,
    head={
        "anchor_generator": anchors(4, 3, [0.5, 1.0, 2.0]),
        "bbox_coder": coder(0.1, 0.1, 0.2, 0.2),
        "loss_bbox": {"type": "SmoothL1Loss", "beta": 0.11, "loss_weight": 0.75},
    },
)
FSAF = replace(
    RETINANET,
    detector="FSAF",
    head={
        "reg_decoded_bbox": True,
        "anchor_generator": anchors(1, 1, [1.0]),
        "bbox_coder": {"type": "TBLRBBoxCoder", "normalizer": 4.0},
        "loss_cls": {**FOCAL, "reduction": "none"},
        "loss_bbox": {"type": "IoULoss", "eps": 1e-6, "loss_weight": 1.0, "reduction": "none"},
    },
    train_cfg=dense_train(
        {"type": "CenterRegionAssigner", "pos_scale": 0.2, "neg_scale": 0.2, "min_pos_iof": 0.01},
        sampler={"type": "PseudoSampler"},
    ),
)
