"""FCOS (Tian et al., arXiv 1904.01355 and 2006.09214) with the later paper's improvements: center sampling, GIoU loss,
distances in units of the stride, centerness beside the boxes."""

from densekit.models.recipes.common import FOCAL, Recipe, dense_test

FCOS = Recipe(
    detector="FCOS",
    add_extra_convs="on_output",
    relu_before_extra_convs=True,
    head={
        "center_sampling": True,
        "norm_on_bbox": True,
        "centerness_on_reg": True,
        "conv_bias": True,
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    },
    train_cfg=None,
    test_cfg=dense_test(0.6),
)
