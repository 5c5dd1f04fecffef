"""The operators of ``mmcv._ext`` without a stand-in: calling one says who wants it and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from densekit.errors import DensekitError

# What an operator's name begins with, who wants it, and what stands in for that layer where there is something.
WANTED_BY = (
    ("line_nms", "CLRNet (mmdet)", ""),
    ("psamask", "PSANet (mmseg)", ""),
    ("sync_bn", "the norm layer MMSyncBN", "use norm_cfg=dict(type='SyncBN')"),
    (
        "prroi_pool|deform_roi_pool",
        "the RoI layers PrRoIPool and DeformRoIPool",
        "use roi_layer=dict(type='RoIAlign', ...)",
    ),
    ("bbox_overlaps", "mmcv.ops.bbox_overlaps", "use mmdet.structures.bbox.bbox_overlaps"),
    ("border_align", "BorderDet", ""),
    ("bezier_align|contour_expand|pixel_group", "text detectors and spotters (mmocr)", ""),
    ("correlation", "optical-flow models (mmflow)", ""),
    ("tin_shift", "TIN (mmaction)", ""),
    ("bias_act|filtered_lrelu|fused_bias_leakyrelu|upfirdn2d", "StyleGAN and its kin (mmagic)", ""),
    (
        "active_rotated_filter|box_iou_quadri|box_iou_rotated|chamfer_distance|convex_|diff_iou_rotated|min_area_polygons|nms_quadri|nms_rotated|points_in_polygons|riroi_align|roi_align_rotated|rotated_feature_align",
        "detectors of rotated and quadrilateral boxes (mmrotate)",
        "",
    ),
    (
        "assign_score_withk|ball_query|dynamic_|furthest_point|fused_indice|gather_points|get_indice|group_points|hard_voxelize|indice_|iou3d|knn|points_in_boxes|roiaware|roipoint|stack_|three_",
        "point-cloud and voxel models (mmdet3d)",
        "",
    ),
)


class MissingOperatorError(DensekitError):
    """A model calls an operator of mmcv that has no stand-in."""


def missing_operator(name: str) -> MissingOperatorError:
    """The error that a call of operator ``name`` ends in."""
    found = (entry[1:] for entry in WANTED_BY if re.match(entry[0], name))
    wanted_by, instead = next(found, ("no model of mmdet or mmseg", ""))
    remedy = instead or "choose another model"
    return MissingOperatorError(
        f"mmcv operator {name}: densekit has no stand-in for it (it is wanted by {wanted_by}): {remedy}, "
        "or install an mmcv that was built with its operators and set DENSEKIT_OPS=mmcv"
    )


def raising(name: str) -> Callable[..., NoReturn]:
    """A function in the operator's place: mmcv asks for every operator at import, and only a call is an error."""

    def operator(*args, **kwargs) -> NoReturn:
        raise missing_operator(name)

    operator.__name__ = name
    return operator
