"""From the scores of a network to a class map of each image in its original size, as MMSegmentation's samples have it.

What MMSegmentation's ``predict`` gives, to the pixel, without the logits at full size; those are not in the samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from densekit.ops.class_scores import ClassScores, Restore, Size
from densekit.ops.tile_settings import TileSettings
from densekit.ops.tiled_scores import predict_scores

if TYPE_CHECKING:
    from mmseg.structures import SegDataSample


class ImageScores(NamedTuple):
    """Scores of one image, and how they are brought to its original size."""

    scores: ClassScores
    size: Size
    restore: Restore | None

    def labels(self) -> Tensor:
        """The class of each pixel, uint8 (1, H, W)."""
        return self.scores.labels(self.size, self.restore)

    def probabilities(self, classes: Sequence[int] | None = None) -> Tensor:
        """See :meth:`ClassScores.probabilities`; float (1, k, H, W)."""
        return self.scores.probabilities(self.size, classes, self.restore)


class PredictsClassMaps:
    """A segmentor of MMSegmentation's form that predicts as the :class:`TileSettings` of its ``test_cfg`` say."""

    @abstractmethod
    def scores(self, inputs: Tensor) -> ClassScores:
        """Scores of preprocessed images (B, C, H, W), at the decoder's own resolution."""

    def image_scores(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[ImageScores]:
        """Predict preprocessed images.

        Args:
            inputs: (B, C, H, W).
            data_samples: With what preprocessing did to each: ``ori_shape``, padding, ``flip``; None: nothing.
        """
        scores = predict_scores(inputs, self.scores, TileSettings.from_dict(self.test_cfg))
        size = tuple(inputs.shape[2:])
        facts = [sample.metainfo for sample in data_samples or ()] or [{}] * len(inputs)
        corners = bool(getattr(self, "align_corners", False))
        return [ImageScores(scores[i : i + 1], size, _restoring(fact, size, corners)) for i, fact in enumerate(facts)]

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Class maps of preprocessed images.

        Returns:
            Samples with ``pred_sem_seg``, uint8 (1, H, W) in the original size.
        """
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        samples = list(data_samples or (SegDataSample() for _ in inputs))
        for sample, found in zip(samples, self.image_scores(inputs, data_samples), strict=True):
            sample.pred_sem_seg = PixelData(data=found.labels())
        return samples


def _restoring(facts: Mapping[str, Any], size: Size, align_corners: bool) -> Restore | None:
    """Undo what preprocessing did to an image, in MMSegmentation's order; None: nothing is to be undone."""
    left, right, top, bottom = facts.get("img_padding_size", facts.get("padding_size", (0, 0, 0, 0)))
    rows, columns = slice(top, size[0] - bottom), slice(left, size[1] - right)
    axis = {"horizontal": 3, "vertical": 2}[facts["flip_direction"]] if facts.get("flip") else None
    inner = (rows.stop - rows.start, columns.stop - columns.start)
    whole = tuple(facts.get("ori_shape", inner))[:2]
    if whole == inner == size and axis is None:
        return None

    def restore(scores: Tensor) -> Tensor:
        scores = scores[:, :, rows, columns]
        scores = scores if axis is None else scores.flip(axis)
        if whole == inner:
            return scores
        return F.interpolate(scores, whole, mode="bilinear", align_corners=align_corners)

    return restore
