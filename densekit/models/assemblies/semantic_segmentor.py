"""Encoder-decoder for images: MMSegmentation's, which gives class maps of the images' own sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import Tensor

from densekit.models.assemblies.kept_features import KeepsFeatures
from densekit.registry import MODELS


class _Predicting:
    """What both kinds of segmentor do in the same way."""

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits ``(B, K, h, w)`` of a preprocessed batch ``(B, C, H, W)``, at the decoder's own resolution."""
        return self._forward(inputs)

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Class maps of a preprocessed batch.

        Args:
            inputs: Images ``(B, C, H, W)``.
            data_samples: With the ``ori_shape`` that the map of each is to have; None: the size of ``inputs``.

        Returns:
            Samples with ``pred_sem_seg``, uint8 ``(1, H, W)``.
        """
        logits = self.logits(inputs)
        samples = data_samples or [SegDataSample() for _ in range(len(inputs))]
        for sample, one in zip(samples, logits, strict=True):
            size = tuple(sample.metainfo.get("ori_shape", inputs.shape[2:]))[:2]
            whole = resize(one[None], size=size, mode="bilinear", align_corners=self.align_corners, warning=False)
            sample.pred_sem_seg = PixelData(data=whole.argmax(1).to(torch.uint8))
        return list(samples)


@MODELS.register_module()
class SemanticSegmentor(_Predicting, KeepsFeatures, EncoderDecoder):
    """MMSegmentation's ``EncoderDecoder``: backbone, optional neck, decoder, optional auxiliary heads for training."""


@MODELS.register_module()
class CascadeSemanticSegmentor(_Predicting, KeepsFeatures, CascadeEncoderDecoder):
    """MMSegmentation's ``CascadeEncoderDecoder``: each decoder takes the maps and what the one before it gives."""
