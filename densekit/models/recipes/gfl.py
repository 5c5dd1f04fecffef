"""GFL (Li et al. 2020, arXiv 2006.04388): assigned as ATSS does."""

from dataclasses import replace

from densekit.models.recipes.atss import ATSS
from densekit.models.recipes.common import anchors

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
