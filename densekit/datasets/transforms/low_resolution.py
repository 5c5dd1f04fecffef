"""Simulated low resolution that can leave an axis alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from monai.transforms import Randomizable, Transform

from densekit.errors import ConfigError
from densekit.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandLowResolution(Randomizable, Transform):
    """Take ``"inputs"`` down to a coarser grid (nearest) and back up (linear), as nnU-Net's low-resolution transform.

    MONAI's ``RandSimulateLowResolutiond`` coarsens all axes alike; here an axis whose slices are already coarse can be
    left out, as nnU-Net does for anisotropic patches.

    Args:
        prob: Probability.
        zoom_range: Range of the factor by which the number of voxels along an axis shrinks.
        axes: Axes that are coarsened (0 = D, 1 = H, 2 = W).
    """

    def __init__(self, prob: float, zoom_range: Sequence[float] = (0.5, 1.0), axes: Sequence[int] = (0, 1, 2)) -> None:
        self.prob = prob
        self.zoom_range = tuple(zoom_range)
        self.axes = tuple(axes)
        if len(self.zoom_range) != 2 or not 0 < self.zoom_range[0] <= self.zoom_range[1] <= 1:
            raise ConfigError(f"RandLowResolution: zoom_range {zoom_range} is not a range in (0, 1], as in (0.5, 1.0)")

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.R.uniform() >= self.prob:
            return data
        zoom = self.R.uniform(*self.zoom_range)
        image = data["inputs"]
        shape = tuple(image.shape[1:])
        coarse = [max(1, round(n * zoom)) if axis in self.axes else n for axis, n in enumerate(shape)]
        image = F.interpolate(F.interpolate(image[None], coarse, mode="nearest-exact"), shape, mode="trilinear")
        return {**data, "inputs": image[0]}
