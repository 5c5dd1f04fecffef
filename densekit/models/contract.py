"""What a part says of itself, so that parts can be put together without trying them out.

Every part says on its **instance** for how many dimensions it is, ``spatial_dims``: 2 or 3, which may be an argument.

* A *backbone* says ``in_channels`` (of the image), ``out_channels`` and ``out_strides`` of its maps, fine to coarse,
  and what sizes it takes: ``size_multiple``, to which it pads any other size itself, or ``fixed_size``, the only one.
* A *neck* says ``in_channels`` of what it takes, and ``in_strides`` if it is made for certain ones; ``out_channels`` of
  what it gives, and ``out_strides``, or where these follow from the ones it is given a method ``strides_from``.
  Its class says ``levels``: which of the levels before it its ``in_channels`` stands for, see :data:`LEVELS`; and its
  instance ``pairs``: whether each level it gives is a pair of maps, for classification and for localisation.
* A *head* says ``in_channels`` and ``in_strides``; its class ``pairs``, whether it takes such pairs, and ``recipe``,
  the name of the head whose published settings it is trained with (:mod:`densekit.models.recipes`).

A stride is pixels of the image per pixel of the map: one number, or one per axis, as in the anisotropic pyramids of
volumes. Parts of other packages that say none of this are tried out once, on PyTorch's meta device.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from densekit.errors import ConfigError

LEVELS = ("all", "equal", "last")
"""What a neck's ``in_channels`` stands for: a number per level (the default); one for all, which must be equal; that of
the coarsest level, which alone is used."""
PROBES = (512, 1024)
"""Sides of the images a part is tried on; without memory, they cost nothing."""
FOREIGN_LEVELS = {"DyHead": "equal", "DilatedEncoder": "last", "CTResNetNeck": "last"}
"""Necks of MMDetection whose signature does not say it."""


@dataclass(frozen=True)
class Pyramid:
    """Maps of one part, fine to coarse.

    Attributes:
        part: Its name.
        channels: Channels of each level.
        strides: Pixels of the image per pixel of each level; one number, or one per axis.
        paired: Whether each level is a pair of maps.
    """

    part: str
    channels: tuple[int, ...]
    strides: tuple[Any, ...]
    paired: bool = False

    def common_channels(self, target: str) -> int:
        """The number of channels that all levels have, for a part ``target`` that takes no other.

        Raises:
            ConfigError: if they differ.
        """
        if len(set(self.channels)) > 1:
            raise ConfigError(
                f"{self.part} -> {target}: {self.part} gives levels of {self.channels} channels, {target} takes "
                "levels of equal channels; put an FPN between the two: neck=[dict(type='FPN'), ...]"
            )
        return self.channels[0]


@dataclass(frozen=True)
class Said:
    """What one part says, see the module.

    Attributes:
        part: Name of its class.
        spatial_dims: 2 or 3; None if it does not say.
        in_channels: Of the maps it takes; of a backbone, of the image.
        in_strides: Of the maps it takes.
        gives: The maps it gives; None if it does not say.
        size_multiple: Per axis; None if it does not say.
        fixed_size: The only input size; None: it takes others.
        mean: Mean of the images its weights were trained on, per channel, for values from 0 to 255; None if it does
            not say.
        std: Their SD.
    """

    part: str
    spatial_dims: int | None
    in_channels: Any = None
    in_strides: Any = None
    gives: Pyramid | None = None
    size_multiple: tuple[int, ...] | None = None
    fixed_size: tuple[int, ...] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None

    @property
    def dims(self) -> int:
        """2 for images, 3 for volumes; parts that do not say it are for images."""
        return self.spatial_dims or 2


def said(module: nn.Module, source: Pyramid | None = None) -> Said:
    """Read what a part says of itself; ``source`` is what a neck is given."""
    name, dims = type(module).__name__, getattr(module, "spatial_dims", None)
    channels, strides = getattr(module, "out_channels", None), getattr(module, "out_strides", None)
    if strides is None and source is not None and hasattr(module, "strides_from"):
        strides = module.strides_from(source.strides)
    gives = None
    if isinstance(channels, tuple) and isinstance(strides, tuple):
        gives = Pyramid(name, channels, strides, paired=getattr(module, "pairs", False))
    multiple = getattr(module, "size_multiple", None)
    return Said(
        name,
        dims,
        in_channels=getattr(module, "in_channels", None),
        in_strides=getattr(module, "in_strides", None),
        gives=gives,
        size_multiple=None if multiple is None else per_axis(multiple, dims or 2),
        fixed_size=getattr(module, "fixed_size", None),
        mean=_listed(module, "mean"),
        std=_listed(module, "std"),
    )


def _listed(module: nn.Module, name: str) -> list[float] | None:
    value = getattr(module, name, None)
    return list(value) if isinstance(value, (list, tuple)) else None


def per_axis(stride: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """A stride with one number per axis."""
    return (stride,) * dims if isinstance(stride, int) else tuple(stride)


def doubled(strides: Sequence[int], levels: int) -> tuple[int, ...]:
    """The strides of a pyramid that goes on to ``levels`` levels, each of half the size of the one before."""
    known = tuple(strides[:levels])
    return known + tuple(known[-1] * 2**step for step in range(1, levels - len(known) + 1))


@torch.no_grad()
def probe(module: nn.Module, source: Pyramid | None, in_channels: int) -> Pyramid:
    """What a 2D part gives, from what comes out of it.

    Args:
        module: Built on the meta device.
        source: What a neck is given; None for a backbone.
        in_channels: Channels of a backbone's image.

    Raises:
        ConfigError: if it does not run.
    """
    name, outputs = type(module).__name__, []
    for side in PROBES:
        if source is None:
            given = torch.empty(1, in_channels, side, side, device="meta")
        else:
            sizes = zip(source.channels, source.strides, strict=True)
            given = tuple(torch.empty(1, c, side // s, side // s, device="meta") for c, s in sizes)
        try:
            maps = module(given)
        except Exception as error:  # of a foreign part, anything
            what = f"{source.part}: channels {source.channels}, strides {source.strides}" if source else "an image"
            raise ConfigError(f"{name} does not run on what it is given ({what}): {reason(error)}") from error
        outputs.append((maps,) if isinstance(maps, Tensor) else maps)
    small, large = ([level if isinstance(level, Tensor) else level[0] for level in maps] for maps in outputs)
    return Pyramid(
        name,
        tuple(x.shape[1] for x in small),
        # From the difference of two sizes, which a border cut off does not change.
        tuple((PROBES[1] - PROBES[0]) // (b.shape[-1] - a.shape[-1]) for a, b in zip(small, large, strict=True)),
        paired=not isinstance(outputs[0][0], Tensor),
    )


def reason(error: Exception) -> str:
    """What an error of another package says in one line, or the line of code that it comes from."""
    message = " ".join(str(error).split())
    if message:
        return message
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in `{last.line}`"


def check_fit(source: Said, target: Said, *, all_levels: bool) -> None:
    """Raise ConfigError if the pyramid of ``source`` is not the one ``target`` was built for.

    Args:
        source: A backbone or neck.
        target: A neck or head that says its ``in_channels`` and ``in_strides``.
        all_levels: True if the target takes exactly the source's levels (neck); False if only the finest (head).
    """
    names, second = f"{source.part} -> {target.part}", target.part
    for attribute, role, value in (
        ("spatial_dims", source, source.spatial_dims),
        ("out_channels", source, source.gives),
        ("in_channels", target, target.in_channels),
        ("in_strides", target, target.in_strides),
    ):
        if value is None:
            raise ConfigError(
                f"{names}: {role.part} does not say its `{attribute}`, so it cannot be part of a VolumeSegmentor"
            )
    dims = source.spatial_dims if target.spatial_dims is None else target.spatial_dims
    if source.spatial_dims != dims:
        raise ConfigError(
            f"{names}: the first works on {source.spatial_dims}D data, the second on {dims}D; "
            f"take a {source.spatial_dims}D {second} or a {dims}D {source.part}"
        )
    strides = (tuple(per_axis(s, dims) for s in part) for part in (source.gives.strides, target.in_strides))
    for what, given, wanted in (
        ("channels", source.gives.channels, tuple(target.in_channels)),
        ("strides", *strides),
    ):
        if len(given) < len(wanted) or (all_levels and len(given) != len(wanted)):
            raise ConfigError(
                f"{names}: {source.part} gives {len(given)} levels with {what} {given}, {second} is set to take "
                f"{len(wanted)} with {what} {wanted}; set {second} to {what} {given}"
            )
        if given[: len(wanted)] != wanted:
            raise ConfigError(
                f"{names}: {source.part} gives {what} {given}, {second} is set to take {wanted}; "
                f"set {second} to {given[: len(wanted)]}"
            )
