"""What is put right in the Python layer of OpenMMLab's packages while it is imported, each with its reason.

Two tables, read by :mod:`.finder`: what happens just before a module is imported, and just after it ran, before
anything could take a name from it. The ``mmcv.*`` entries are left out when mmcv's own compiled operators are selected.
Nothing heavy at the top: ``import densekit`` loads this file.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType


def served_by(source: str, function: str) -> Callable[[ModuleType], None]:
    """Our function of that name in the place of the module's own."""

    def replace(module: ModuleType) -> None:
        setattr(module, function, getattr(import_module(f"densekit.ops.mmcv_ext.{source}"), function))

    return replace


def one_deformable_attention(module: ModuleType) -> None:
    """mmcv takes its compiled kernel on a GPU, except in bfloat16, where it warns: one function serves all of them."""
    from densekit.ops.mmcv_ext.msda import multi_scale_deformable_attn

    module.multi_scale_deformable_attn_pytorch = multi_scale_deformable_attn
    module.IS_CUDA_AVAILABLE = False


def exact_regions(module: ModuleType) -> None:
    """mmdet rounds regions to the dtype of the features, in bfloat16 to 4 pixels or more: here they stay exact."""
    from densekit.ops.mmcv_ext.numerics import compute_dtype

    extract = module.SingleRoIExtractor.forward

    @functools.wraps(extract)
    def forward(self, feats, rois, roi_scale_factor=None):
        wide = tuple(feat.to(compute_dtype(feat)) for feat in feats)
        return extract(self, wide, rois, roi_scale_factor).to(feats[0].dtype)

    module.SingleRoIExtractor.forward = forward


def ssd_that_predicts(module: ModuleType) -> None:
    """mmdet asks every head for ``loss_cls`` when it predicts, and SSD's has none (mmdetection#11063)."""
    module.SSDHead.loss_cls = None


def print_log_by_level(module: ModuleType) -> None:
    """mmengine prints debug messages that name no logger, such as "Could not import OneDL", whatever the level."""
    import logging

    original = module.print_log

    def print_log(msg, logger=None, level=logging.INFO) -> None:
        if logger is not None or level > logging.DEBUG:
            original(msg, logger, level)

    print_log.__doc__ = original.__doc__
    module.print_log = print_log


def no_update_check() -> None:
    """Albumentations asks PyPI for a newer version of itself at import, and warns."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def optional_evaluator() -> None:
    """mmdet warns at import that an optional evaluator is not installed, whether or not it is asked for."""
    warnings.filterwarnings("ignore", message="faster_coco_eval is not installed")


BEFORE_IMPORT: dict[str, Callable[[], None]] = {
    "albumentations": no_update_check,
    "mmdet.evaluation.metrics.faster_coco_metric": optional_evaluator,
}

AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    # mmcv's ignores ``class_agnostic`` from 10,000 boxes on, and mixes classes where coordinates are negative.
    "mmcv.ops.nms": served_by("nms", "batched_nms"),
    # torchvision's own gradient, not mmcv's wrapper: deterministic on request, traceable, one forward a step. For a
    # deformable convolution mmcv's wrapper costs three forwards and two backwards.
    "mmcv.ops.roi_align": served_by("roi", "roi_align"),
    "mmcv.ops.deform_conv": served_by("deform_conv", "deform_conv2d"),
    "mmcv.ops.modulated_deform_conv": served_by("deform_conv", "modulated_deform_conv2d"),
    "mmcv.ops.multi_scale_deform_attn": one_deformable_attention,
    "mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor": exact_regions,
    "mmdet.models.dense_heads.ssd_head": ssd_that_predicts,
    "mmengine.logging.logger": print_log_by_level,
}
