"""ATSS (Zhang et al. 2020, arXiv 1912.02424)."""

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
