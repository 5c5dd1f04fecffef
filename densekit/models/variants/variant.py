"""One size of a backbone, and what images its weights know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Of RGB values from 0 to 255, as torchvision's weights expect."""


@dataclass(frozen=True)
class Variant:
    """One size of a backbone.

    Attributes:
        part: Registered name of the backbone.
        arguments: Its arguments.
        widths: Channels of its maps, fine to coarse; empty for a whole network, whose map has the classes as channels.
        depths: Blocks of each stage; empty where a network has no such number.
        weights: Where its weights come from; None: there are none.
        mean: Mean of the images these were trained on, per channel, for values from 0 to 255.
        std: Their SD.
        published: Millions of parameters in the publication, counted with what stands behind the backbone there: the
            classifier of ImageNet, or the decoder. None: none was published, or the size is ours.
        licence: Of its weights, as those who published them name it; None: there are none, or it is not known.
        parameters: Millions of parameters of the backbone itself, as counted; None: not counted.
        macs: Billions of multiply-accumulates for one image or volume of ``size``, as counted.
        size: (H, W) or (D, H, W).
        source: Where the size comes from.
        decoder: ``neck`` and ``head`` that make it a network, as :func:`densekit.models.assemble.assemble` takes them;
            empty for a backbone that published networks share.
    """

    part: str
    arguments: Mapping[str, Any]
    widths: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    weights: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    published: float | None = None
    licence: str | None = None
    parameters: float | None = None
    macs: float | None = None
    size: tuple[int, ...] = ()
    source: str = ""
    decoder: Mapping[str, Any] = field(default_factory=dict)
