"""Sizes of networks that stand in timm, by its own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from densekit.models.variants.variant import IMAGENET_MEAN, IMAGENET_STD, Variant

IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
HALF = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
CLIP = ((122.7709, 116.746, 104.0937), (68.5005, 66.6322, 70.3232))
"""Mean and SD of the images that weights were trained on."""


def family(
    source: str,
    licence: str,
    rows: Mapping[str, tuple[Any, ...]],
    *,
    side: int = 224,
    colours: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET,
    weights: bool = True,
) -> dict[str, Variant]:
    """Sizes of one family: widths, depths, parameters and multiply-accumulates as counted, parameters as published."""
    return {
        name: Variant(
            "TimmBackbone",
            {"name": name},
            widths=widths,
            depths=depths,
            weights=f"timm/{name}" if weights else None,
            licence=licence if weights else None,
            mean=colours[0],
            std=colours[1],
            parameters=parameters,
            macs=macs,
            size=(side, side),
            published=published[0] if published else None,
            source=source,
        )
        for name, (widths, depths, parameters, macs, *published) in rows.items()
    }
