"""The module that appears as ``mmcv._ext``: each operator by the name and the arguments mmcv's Python layer uses.

The compiled extension writes into tensors that its caller has made; so do the stand-ins. Their names and the order of
their arguments are therefore mmcv's (``mmcv/ops/*.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType

import torch
import torchvision

from densekit.ops.mmcv_ext import carafe, deform_conv, focal, masked_conv, missing, msda, nms, roi


def get_compiler_version() -> str:
    """For reports of the environment."""
    return f"none, operators served by densekit from torchvision {torchvision.__version__}"


def get_compiling_cuda_version() -> str:
    """For reports of the environment: the CUDA that torch and torchvision were built for."""
    return torch.version.cuda or "not available"


OPERATORS: tuple[Callable, ...] = (
    get_compiler_version,
    get_compiling_cuda_version,
    nms.nms,
    nms.softnms,
    nms.nms_match,
    roi.roi_align_forward,
    roi.roi_align_backward,
    roi.roi_pool_forward,
    roi.roi_pool_backward,
    deform_conv.deform_conv_forward,
    deform_conv.deform_conv_backward_input,
    deform_conv.deform_conv_backward_parameters,
    deform_conv.modulated_deform_conv_forward,
    deform_conv.modulated_deform_conv_backward,
    focal.sigmoid_focal_loss_forward,
    focal.sigmoid_focal_loss_backward,
    focal.softmax_focal_loss_forward,
    focal.softmax_focal_loss_backward,
    msda.ms_deform_attn_forward,
    msda.ms_deform_attn_backward,
    masked_conv.masked_im2col_forward,
    masked_conv.masked_col2im_forward,
    carafe.carafe_forward,
    carafe.carafe_backward,
    carafe.carafe_naive_forward,
    carafe.carafe_naive_backward,
)


def populate(module: ModuleType) -> None:
    """Make ``module`` the stand-in for mmcv's compiled extension."""
    for operator in OPERATORS:
        setattr(module, operator.__name__, operator)
    module.__getattr__ = _without_stand_in
    logging.getLogger("densekit").debug(
        "mmcv's compiled operators are served from torchvision %s", torchvision.__version__
    )


def _without_stand_in(name: str) -> Callable:
    if name.startswith("_"):
        raise AttributeError(name)
    return missing.raising(name)
