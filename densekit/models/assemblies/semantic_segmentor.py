"""Encoder-decoder for images: MMSegmentation's, which gives class maps of the images' own sizes."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.models.decode_heads import Mask2FormerHead
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from densekit.models.assemblies.class_maps import PredictsClassMaps
from densekit.models.assemblies.kept_features import KeepsFeatures
from densekit.ops.class_scores import ClassScores, DenseScores, QueryScores
from densekit.registry import MODELS


@MODELS.register_module()
class SemanticSegmentor(PredictsClassMaps, KeepsFeatures, EncoderDecoder):
    """MMSegmentation's ``EncoderDecoder``: backbone, optional neck, decoder, optional auxiliary heads for training."""

    default_scope = "mmseg"

    def scores(self, inputs: Tensor) -> ClassScores:
        """See the base; a decoder that classifies masks gives these."""
        found = self._forward(inputs)
        if isinstance(found, Tensor):
            return DenseScores(found, self.align_corners)
        classes, masks = found
        return QueryScores(classes.softmax(-1)[..., :-1], masks)

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> Tensor | tuple:
        """Logits ``(B, K, h, w)``; of a decoder that classifies masks logits ``(B, Q, K + 1)`` and ``(B, Q, h, w)``."""
        if not isinstance(self.decode_head, Mask2FormerHead):
            return super()._forward(inputs, data_samples)
        classes, masks = self.decode_head(self.extract_feat(inputs), data_samples)
        return classes[-1], masks[-1]


@MODELS.register_module()
class CascadeSemanticSegmentor(PredictsClassMaps, KeepsFeatures, CascadeEncoderDecoder):
    """MMSegmentation's ``CascadeEncoderDecoder``: each decoder takes the maps and what the one before it gives."""

    default_scope = "mmseg"

    def scores(self, inputs: Tensor) -> ClassScores:
        """See the base."""
        return DenseScores(self._forward(inputs), self.align_corners)
