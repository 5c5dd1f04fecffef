"""MMSegmentation's transforms of a training that take most of its loader's time, with the same results in less."""

from __future__ import annotations

from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets import transforms as mmseg

from densekit.registry import TRANSFORMS
from densekit.structures.label_images import value_counts

_TRIES = 10
_VALUES = np.arange(256, dtype=np.uint8)


@TRANSFORMS.register_module()
class RandomCrop(mmseg.RandomCrop):
    """MMSegmentation's crop: the same arguments and draws, the same crops.

    Where ``cat_max_ratio`` is below 1, a crop of which one class takes as much or more is drawn again, up to ten times;
    MMSegmentation sorts all labels of a crop to count them.
    """

    @cache_randomness
    def crop_bbox(self, results: dict[str, Any]) -> tuple[int, int, int, int]:
        """Draw a crop: first row and the one after the last, then columns; they may lie beyond the image."""
        box = self._draw(results["img"].shape)
        if self.cat_max_ratio < 1:
            for _ in range(_TRIES):
                if self._is_mixed(self.crop(results["gt_seg_map"], box)):
                    break
                box = self._draw(results["img"].shape)
        return box

    def _draw(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        # from numpy's global generator, rows first: SeededDataset seeds it
        top, left = (np.random.randint(0, max(n - size, 0) + 1) for n, size in zip(shape, self.crop_size, strict=False))
        return top, top + self.crop_size[0], left, left + self.crop_size[1]

    def _is_mixed(self, labels: np.ndarray) -> bool:
        counts = value_counts(labels)
        counts[self.ignore_index] = 0
        return np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < self.cat_max_ratio


@TRANSFORMS.register_module()
class PhotoMetricDistortion(mmseg.PhotoMetricDistortion):
    """MMSegmentation's distortion of colours: the same arguments and draws, the same values.

    What becomes of a value of 8 bits is computed once for each of the 256, in MMSegmentation's float32.
    """

    def convert(self, img: np.ndarray, alpha: float = 1, beta: float = 0) -> np.ndarray:
        """Return ``img`` times ``alpha`` plus ``beta`` as uint8, within 0 to 255."""
        if img.dtype != np.uint8:
            return super().convert(img, alpha, beta)
        return cv2.LUT(img, super().convert(_VALUES, alpha, beta))

    def hue(self, img: np.ndarray) -> np.ndarray:
        """Turn the hue of an image ``(H, W, 3)``, blue, green, red, in one of two cases."""
        if img.dtype != np.uint8:
            return super().hue(img)
        if not np.random.randint(2):
            return img
        img = mmcv.bgr2hsv(img)
        shift = np.random.randint(-self.hue_delta, self.hue_delta)
        img[..., 0] = cv2.LUT(img[..., 0], ((_VALUES.astype(int) + shift) % 180).astype(np.uint8))
        return mmcv.hsv2bgr(img)
