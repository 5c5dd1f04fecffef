"""DPT's decoder (Ranftl et al. 2021, arXiv 2103.13413) for the maps of any plain transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads import DPTHead
from torch import Tensor

from densekit.registry import MODELS


@MODELS.register_module()
class SingleStrideDPTHead(DPTHead):
    """MMSegmentation's ``DPTHead`` on maps alone, without their class token: four of one stride become a pyramid.

    Args:
        in_channels: Channels of each of the four maps, all equal.
        num_classes: Number of classes.
        in_index: Which maps, from shallow to deep.
        **options: Those of ``DPTHead``.
    """

    spatial_dims = 2

    def __init__(self, in_channels: Sequence[int], *, num_classes: int, in_index: Sequence[int], **options: Any):
        super().__init__(
            in_channels=list(in_channels),
            embed_dims=in_channels[0],
            num_classes=num_classes,
            in_index=list(in_index),
            input_transform="multiple_select",
            readout_type="ignore",
            **options,
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps ``(B, C, H, W)``, shallow to deep, to logits ``(B, K, 8 H, 8 W)``."""
        return super().forward([inputs[index] for index in self.in_index])

    def _transform_inputs(self, inputs: Sequence[Tensor]) -> list[tuple[Tensor, None]]:
        return [(x, None) for x in inputs]
