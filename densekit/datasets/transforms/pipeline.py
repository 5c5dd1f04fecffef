"""Transforms one after the other, with all their randomness from one seed per sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import monai.data
import numpy as np

from densekit.errors import ConfigError
from densekit.registry import TRANSFORMS

Sample = dict[str, Any]


class Pipeline:
    """A list of transforms as one.

    A sample is a flat dict of ``"inputs"``, float32 ``(C, d, h, w)``, and ``"label"``, ``(1, d, h, w)``: both with
    the channel first, as MONAI's dictionary transforms expect, and of a data set with boxes ``"boxes"`` ``(N, 6)`` in
    voxels of ``"inputs"`` and ``"box_labels"`` ``(N,)``; other entries pass through. Tensors stay plain: MONAI's
    tracking of metadata, which costs more than most of the transforms themselves, is off inside.

    Random transforms must draw from the state that ``set_random_state`` gives them, as MONAI's do; one that draws from
    a global generator would make samples depend on what was read before.

    Args:
        transforms: Config dicts (``dict(type="RandFlipd", keys=("inputs", "label"), prob=0.5)``) or callables.

    Raises:
        ConfigError: if a transform is not known or does not take its arguments.
    """

    def __init__(self, transforms: Sequence[dict | Callable[[Sample], Sample]]) -> None:
        self.transforms = [_build(transform) for transform in transforms]
        self._random = [transform for transform in self.transforms if hasattr(transform, "set_random_state")]
        self._wide = [transform for transform in self.transforms if hasattr(transform, "draw_margin")]

    def seed(self, sequence: np.random.SeedSequence) -> None:
        """Give every random transform its own stream, so that what one draws does not depend on the others."""
        for transform, child in zip(self._random, sequence.spawn(len(self._random)), strict=True):
            transform.set_random_state(state=np.random.RandomState(np.random.PCG64(child)))

    def draw_margin(self) -> tuple[int, int, int]:
        """Draw what the next sample needs around the patch: voxels (d, h, w) per side.

        A transform that looks beyond the patch (a rotation) has a method ``draw_margin`` which draws its parameters and
        says how far; the next call of the transform then uses them. So context is read only for samples that need it.
        """
        margins = [transform.draw_margin() for transform in self._wide]
        d, h, w = (max(sides) for sides in zip(*margins, (0, 0, 0), strict=True))
        return d, h, w

    def __call__(self, sample: Sample) -> Sample:
        """Apply all transforms to a sample."""
        tracked = monai.data.get_track_meta()
        monai.data.set_track_meta(False)
        try:
            for transform in self.transforms:
                sample = transform(sample)
        finally:
            monai.data.set_track_meta(tracked)
        return sample


def _build(transform: dict | Callable[[Sample], Sample]) -> Callable[[Sample], Sample]:
    if not isinstance(transform, dict):
        return transform
    try:
        return TRANSFORMS.build(transform)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"transform {transform.get('type')}: {error}") from error
