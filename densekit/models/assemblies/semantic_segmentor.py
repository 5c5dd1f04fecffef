"""Encoder-decoder for images: MMSegmentation's, which gives class maps of the images' own sizes."""

from __future__ import annotations

from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from densekit.models.assemblies.class_maps import PredictsClassMaps
from densekit.models.assemblies.kept_features import KeepsFeatures
from densekit.ops.class_scores import ClassScores, DenseScores, QueryScores
from densekit.registry import MODELS


class _Predicting(PredictsClassMaps):
    """What both kinds of segmentor do in the same way."""

    def scores(self, inputs: Tensor) -> ClassScores:
        """Scores of a preprocessed batch ``(B, C, H, W)``, at the decoder's own resolution."""
        if not hasattr(self.decode_head, "num_queries"):
            return DenseScores(self._forward(inputs), self.align_corners)
        size = tuple(inputs.shape[2:])
        samples = [SegDataSample(metainfo={"batch_input_shape": size, "img_shape": size}) for _ in inputs]
        classes, masks = self.decode_head(self.extract_feat(inputs), samples)  # of each layer of the decoder
        return QueryScores(classes[-1].softmax(-1)[..., :-1], masks[-1])


@MODELS.register_module()
class SemanticSegmentor(_Predicting, KeepsFeatures, EncoderDecoder):
    """MMSegmentation's ``EncoderDecoder``: backbone, optional neck, decoder, optional auxiliary heads for training."""


@MODELS.register_module()
class CascadeSemanticSegmentor(_Predicting, KeepsFeatures, CascadeEncoderDecoder):
    """MMSegmentation's ``CascadeEncoderDecoder``: each decoder takes the maps and what the one before it gives."""
