"""SegFormer's decoder as published (Xie et al., NeurIPS 2021, arXiv 2105.15203), beside MMSegmentation's.

MMSegmentation's ``SegformerHead`` is another network: each map goes through a convolution, norm and ReLU instead of a
linear layer, 256 channels for every encoder, and the maps are joined fine to coarse instead of coarse to fine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.models.layers.pyramid import BATCH_NORM, STRIDES, PixelLinear, check_four, is_narrow, take_four
from densekit.registry import MODELS


@MODELS.register_module()
class SegformerPaperHead(BaseDecodeHead):
    """Linear layers, upsampling to the finest map, one layer over all of them: logits of stride 4.

    Args:
        in_channels: Channels of the four maps, fine to coarse.
        num_classes: Number of classes.
        in_index: Which of the maps before it are the four.
        channels: D; by itself 256 behind a narrow encoder such as MiT-B0, otherwise 768. MiT-B1 has the widths of B2
            and is published with 256: there it is to be given.
        norm_cfg: Norm before the classifier.
        **kwargs: Those of MMSegmentation's ``BaseDecodeHead``.

    Raises:
        ConfigError: for other than four maps.
    """

    spatial_dims, in_strides = 2, STRIDES

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        in_index: Sequence[int] = (0, 1, 2, 3),
        channels: int | None = None,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
        **kwargs,
    ):
        check_four(type(self).__name__, in_channels, in_index)
        super().__init__(
            in_channels=list(in_channels),
            channels=channels or (256 if is_narrow(in_channels) else 768),
            num_classes=num_classes,
            in_index=list(in_index),
            input_transform="multiple_select",
            norm_cfg=norm_cfg,
            **kwargs,
        )
        self.projections = nn.ModuleList(PixelLinear(given, self.channels) for given in in_channels)
        self.fuse = ConvModule(4 * self.channels, self.channels, 1, norm_cfg=dict(norm_cfg))

    @staticmethod
    def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the function of that name."""
        return rename_official(state)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps ``(B, C_l, H_l, W_l)`` to logits ``(B, num_classes, H_1, W_1)``."""
        maps = take_four(type(self).__name__, inputs, self.in_index)
        parts = [project(x) for project, x in zip(self.projections, maps, strict=True)]
        size = parts[0].shape[2:]
        coarse = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in parts[:0:-1]]
        return self.cls_seg(self.fuse(torch.cat([*coarse, parts[0]], dim=1)))


def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the authors' head in the words of :class:`SegformerPaperHead`; other keys stay.

    Their ``conv_seg``, which their head does not use, goes; their classifier is ``linear_pred``.
    """
    words = {"linear_fuse.": "fuse.", "linear_pred.": "conv_seg."}
    renamed = {}
    for key, value in state.items():
        if re.search(r"(?<![^.])conv_seg\.", key):
            continue
        key = re.sub(r"(?<![^.])linear_c(\d)\.proj\.", lambda found: f"projections.{int(found[1]) - 1}.", key)
        for theirs, ours in words.items():
            key = re.sub(rf"(?<![^.]){re.escape(theirs)}", ours, key)
        renamed[key] = value
    return renamed


def shared_with_mmseg(state: Mapping[str, Tensor], *, to_mmseg: bool = False) -> dict[str, Tensor]:
    """What MMSegmentation's ``SegformerHead`` of as many channels has in common with :class:`SegformerPaperHead`.

    That is the fusing layer, whose blocks stand in opposite order, and the classifier. The layers before it are of
    another kind (see the module) and have to be trained anew.

    Args:
        state: The state of the one head.
        to_mmseg: It is of :class:`SegformerPaperHead`; False: of MMSegmentation's.

    Returns:
        The part of the other's state that follows.
    """
    theirs, ours = "fusion_conv.", "fuse."
    source, target = (ours, theirs) if to_mmseg else (theirs, ours)
    shared = {key: value for key, value in state.items() if key.startswith("conv_seg.")}
    for key, value in state.items():
        if key.startswith(source):
            shared[target + key.removeprefix(source)] = value
    weight = shared[f"{target}conv.weight"]
    shared[f"{target}conv.weight"] = torch.cat(weight.chunk(4, dim=1)[::-1], dim=1)
    return shared
