"""Mirroring along anatomical axes, with left and right labels exchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from monai.transforms import Randomizable, Transform

from densekit.errors import ConfigError
from densekit.ops.mirror import ANATOMICAL_AXES, LEFT_RIGHT_AXIS, axis_numbers, label_swaps
from densekit.ops.volume_boxes import mirrored
from densekit.registry import TRANSFORMS


@TRANSFORMS.register_module()
class AnatomicalMirror(Randomizable, Transform):
    """Mirror anatomical axes at random, boxes too; a left-right mirror exchanges the values of paired labels.

    A mirrored left kidney looks like a right kidney, so it must be labelled as one. Without a table of pairs the
    left-right axis is therefore refused where a class name says left or right.

    Args:
        axes: Any of ``"left-right"``, ``"anterior-posterior"``, ``"superior-inferior"``.
        prob: Probability of mirroring, for each axis on its own.
        swap: Pairs of class names that change places in a left-right mirror.
        labels: Class names by label value; needed for the left-right axis unless ``relabel`` is False.
        relabel: False mirrors without touching labels, which teaches a network that sides do not matter. The
            published nnFormer recipe (the stand-in for D-Former's) does this, and so does nnU-Net; use it to reproduce
            them, or for classes called left and right that are not mirror images (the ventricles of the heart).
        box_classes: Class names of boxes by label, which change places as those of label maps do; needed for a
            left-right mirror of samples with boxes unless ``relabel`` is False.

    Raises:
        ConfigError: for an unknown axis or class name, or a left-right mirror that would mislabel a side.
    """

    def __init__(
        self,
        axes: Sequence[str] = tuple(ANATOMICAL_AXES),
        prob: float = 0.5,
        swap: Sequence[Sequence[str]] | None = None,
        labels: Sequence[str] | None = None,
        relabel: bool = True,
        box_classes: Sequence[str] | None = None,
    ) -> None:
        axis_numbers(axes, where="AnatomicalMirror")
        self.axes = tuple(axes)
        self.prob = prob
        self._exchange = self._exchange_boxes = None
        self.lacks_box_classes = relabel and "left-right" in self.axes and box_classes is None
        if relabel and "left-right" in self.axes:
            self._exchange = _exchange_table(swap or (), labels)
            if box_classes is not None:
                pairs = [pair for pair in swap or () if set(pair) <= set(box_classes)]
                self._exchange_boxes = _exchange_table(pairs, box_classes)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        drawn = [
            axis
            for axis, chance in zip(self.axes, self.R.uniform(size=len(self.axes)), strict=True)
            if chance < self.prob
        ]
        if not drawn:
            return data
        dims = [ANATOMICAL_AXES[axis] + 1 for axis in drawn]
        sample = {**data, "inputs": torch.flip(data["inputs"], dims)}
        if "label" in data:
            label = torch.flip(data["label"], dims)
            if self._exchange is not None and "left-right" in drawn:
                label = self._exchange.to(label.dtype)[label.long()]
            sample["label"] = label
        if "boxes" in data:
            sample["boxes"] = mirrored(data["boxes"], [dim - 1 for dim in dims], data["inputs"].shape[1:])
            if "left-right" in drawn and self.lacks_box_classes:
                raise ConfigError("AnatomicalMirror: a left-right mirror of boxes needs box_classes=[class names]")
            if "left-right" in drawn and self._exchange_boxes is not None:
                sample["box_labels"] = self._exchange_boxes[data["box_labels"]]
        return sample


def _exchange_table(swap: Sequence[Sequence[str]], labels: Sequence[str] | None) -> torch.Tensor | None:
    """Return the label value after a left-right mirror for each value before it, or None if no label changes."""
    if labels is None:
        raise ConfigError(
            "AnatomicalMirror: a left-right mirror needs labels=[class names] to know whether sides are told apart; "
            "give them, leave 'left-right' out of axes, or set relabel=False to mirror without touching labels"
        )
    otherwise = ", or set relabel=False to mirror without touching labels, as the published nnFormer recipe does"
    swaps = label_swaps(swap, labels, where="AnatomicalMirror: swap", otherwise=otherwise)
    table = torch.arange(len(labels))
    for first, second in swaps:
        table[first], table[second] = second, first
    return table if swaps else None


def changes_sides(transform: Mapping[str, Any]) -> bool:
    """Whether a transform of a pipeline puts what is left to the right and leaves the labels as they are.

    Known are :class:`AnatomicalMirror` and MONAI's flips and rotations, which know nothing of sides: flips of the
    left-right axis, and rotations of it by more than a quarter turn.

    Args:
        transform: Its config, ``dict(type="RandFlipd", keys=("inputs", "label"), spatial_axis=2)``.
    """
    name, get = str(transform.get("type")), transform.get
    if name == "AnatomicalMirror":
        return "left-right" in get("axes", ANATOMICAL_AXES) and not get("relabel", True)
    if get("prob", 1) == 0:
        return False
    if name in ("Flipd", "RandFlipd"):
        axes = get("spatial_axis")
        return axes is None or _is_among(axes)
    if name in ("Rotate90d", "RandRotate90d"):
        half = get("k", 1) % 4 == 2 if name == "Rotate90d" else get("max_k", 3) > 1
        return half and _is_among(get("spatial_axes", (0, 1)))
    if name == "RandRotated":
        return _beyond_a_quarter((get("range_x", 0), get("range_y", 0)))  # about D and H; about W sides stay
    if name in ("RandAffined", "Rand3DElasticd"):
        angles = get("rotate_range") or 0
        return _beyond_a_quarter(angles[:2] if isinstance(angles, Sequence) else (angles,))
    return name == "RandAxisFlipd"  # of any axis


def _is_among(axes: int | Sequence[int]) -> bool:
    return any(axis % 3 == LEFT_RIGHT_AXIS for axis in ([axes] if isinstance(axes, int) else axes))


def _beyond_a_quarter(angles: Sequence[float | Sequence[float]]) -> bool:
    """Whether one of MONAI's ranges of angles, each a limit or both limits in radians, reaches beyond 90 degrees."""
    limits = chain.from_iterable(a if isinstance(a, Sequence) else (a,) for a in angles)
    return max(map(abs, limits), default=0) > math.pi / 2
