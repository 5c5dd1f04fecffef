"""What recipes of 2D segmentors are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from densekit.models.layers.pyramid import BATCH_NORM
from densekit.models.variants import IMAGENET_MEAN, IMAGENET_STD

SEGMENTOR_PREPROCESSOR = {
    "type": "mmseg.SegDataPreProcessor",
    "mean": list(IMAGENET_MEAN),
    "std": list(IMAGENET_STD),
    "bgr_to_rgb": True,
    "pad_val": 0,
    "seg_pad_val": 255,
    "size": None,
}


@dataclass(frozen=True)
class SegmentorRecipe:
    """Published settings of one segmentation head.

    Attributes:
        head: Arguments of the head.
        neck: The neck it is published behind, used where none is given.
        levels: Maps it takes, fine to coarse, each of half the size of the one before; 1: a single one; 0: all.
        finest: Stride of the finest of them.
        single_stride: Whether its maps are all of one stride, as plain transformers give them.
        blocks: Of which blocks of a plain transformer: its ``"last"`` four, or four ``"spread"`` over all.
        behind: What more a head has behind a backbone, of whose class and arguments it is a function.
        auxiliary: Argument of a second head, of training alone, on the level before its last; None: there is none.
        first: Arguments of the head whose result it refines, on the same level; None: it refines none.
        backbone: The only backbone whose maps it takes; None: any.
        nothing_weight: Weight of "no object" in the loss of a head that classifies masks.
        size_divisor: The sides of the images are made multiples of it.
    """

    head: Mapping[str, Any]
    neck: str | None = None
    levels: int = 4
    finest: int = 4
    single_stride: bool = False
    blocks: str | None = None
    behind: Callable[[str, Mapping[str, Any]], dict[str, Any]] | None = None
    auxiliary: Mapping[str, Any] | None = None
    first: Mapping[str, Any] | None = None
    backbone: str | None = None
    nothing_weight: float | None = None
    size_divisor: int = 32


def cross_entropy(weight: float = 1.0) -> dict[str, Any]:
    """The mean over pixels that have a label; in MMSegmentation's configs those without count as well, with loss 0."""
    return {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": weight, "avg_non_ignore": True}


def decoder(channels: int | None = None, **more: Any) -> dict[str, Any]:
    """Arguments that all of MMSegmentation's decoders share; None: its channels are its own affair."""
    return {
        **({} if channels is None else {"channels": channels}),
        "dropout_ratio": 0.1,
        "norm_cfg": BATCH_NORM,
        "align_corners": False,
        "loss_decode": cross_entropy(),
        **more,
    }


FCN_BEFORE = {
    "type": "mmseg.FCNHead",
    **decoder(256, num_convs=1, concat_input=False, loss_decode=cross_entropy(0.4)),
}
"""The small head on the level before the last: an auxiliary one of training, or the first of a cascade."""
