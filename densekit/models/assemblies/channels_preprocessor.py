"""Preprocessing of images that are neither grey nor RGB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor

from densekit.registry import MODELS


@MODELS.register_module()
class ChannelsPreprocessor(SegDataPreProcessor):
    """MMSegmentation's preprocessing for any number of channels; its own takes a mean of one or three values.

    Args:
        mean: Of each channel.
        std: SD of each channel.
        **options: Those of ``SegDataPreProcessor``; channels are not reordered.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **options: Any):
        super().__init__(**options)
        self._enable_normalize = True
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)
