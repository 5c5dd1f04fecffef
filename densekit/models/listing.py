"""``densekit models``: the registered networks and parts, and what each takes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from densekit.errors import ConfigError, close_names
from densekit.models.assemble import Part, assemble
from densekit.models.assemble.backbone import backbone_part
from densekit.models.assemble.parts import Wired, mmdet_models, registered
from densekit.models.recipes import RECIPES, SEGMENTORS
from densekit.models.variants import VARIANTS, Variant

ROOMS = ("assemblies", "backbones", "necks", "heads", "losses", "layers")
FOLLOW = ("necks", "heads")
"""Rooms of the parts that follow another."""


def list_parts(
    room: str | None = None, *, dims: int | None = None, fits: Part | Sequence[Part] | None = None
) -> list[str]:
    """Names of parts: our own, the named sizes of backbones, and what MMDetection and MMSegmentation have for images.

    Args:
        room: One of :data:`ROOMS`; None: all of them, or with ``dims`` or ``fits`` those of which that can be asked.
        dims: Those for images (2) or for volumes (3).
        fits: A backbone, or a list of it and the necks behind it: necks and heads that can follow, with the arguments
            they have by themselves.

    Raises:
        ConfigError: for an unknown room, or a question that cannot be asked, or not of it.
    """
    if dims not in (None, 2, 3):
        raise ConfigError(f"dims={dims!r}: expected 2 for images or 3 for volumes")
    rooms = FOLLOW if fits is not None else ("backbones", *FOLLOW) if dims is not None else ROOMS
    if room is not None and room not in ROOMS:
        raise ConfigError(f"{room!r} is no room{close_names(room, ROOMS)}; rooms: {', '.join(ROOMS)}")
    if room is not None and room not in rooms:
        asked = "dims" if fits is None else "fits"
        raise ConfigError(f"{asked}: cannot be asked of {room!r}; rooms: {', '.join(rooms)}")
    before = [] if fits is None else list(fits) if isinstance(fits, (list, tuple)) else [fits]
    if fits is not None and not before:
        raise ConfigError("fits: names no part; give a backbone, or a list of it and the necks behind it")
    if before:
        of_backbone = backbone_part(before[0], pretrained=False).dims
        if dims not in (None, of_backbone):
            return []
        dims = of_backbone
    found = {
        name: kind
        for one in ([room] if room else rooms)
        for name, kind in _parts_of(one, dims).items()
        if fits is None or _follows(name, one, before, dims)
    }
    return sorted(found)


def _parts_of(room: str, dims: int | None) -> dict[str, Any]:
    """Parts of a room by name, with what they are for."""
    of_room = registered(room)
    if room not in ("backbones", *FOLLOW):
        return of_room
    own = {name: Wired(part, {}).dims for name, part in of_room.items()}
    if room == "backbones":
        own |= {name: backbone_part(name, pretrained=False).dims for name in VARIANTS}
    if dims != 3:
        theirs = mmdet_models().module_dict
        own |= {name: 2 for name, part in theirs.items() if part.__module__.startswith(f"mmdet.models.{room}")}
        if room == "heads":
            own |= dict.fromkeys([*RECIPES, *SEGMENTORS], 2)
    return {name: kind for name, kind in own.items() if dims is None or kind in (None, dims)}


def _follows(name: str, room: str, before: Sequence[Part], dims: int) -> bool:
    """Whether a part can stand behind others."""
    backbone, *necks = before
    behind, heads = (necks, [name]) if room == "heads" else ([*necks, name], _parts_of("heads", dims))
    for head in heads:
        try:
            assemble(backbone=backbone, neck=behind or None, head=head, num_classes=2, pretrained=False)
        except ConfigError:
            continue
        return True
    return False


def print_models() -> int:
    """Print all registered parts by room, and the named sizes."""
    for room in ROOMS:
        if parts := sorted(registered(room).items()):
            print(f"{room}:")
            for key, part in parts:
                print(f"  {key:<24} {(inspect.getdoc(part) or '').splitlines()[0]}")
    print(
        "named sizes of backbones: parameters and multiply-accumulates (MACs) of the backbone, licence of its weights"
    )
    for key, variant in VARIANTS.items():
        print(f"  {key:<{max(map(len, VARIANTS))}} {_cost(variant):<38} {_licence(variant):<26} {variant.source}")
    return 0


def _cost(variant: Variant) -> str:
    """Parameters and multiply-accumulates, in words."""
    if variant.parameters is None:
        return ""
    sides = "x".join(map(str, variant.size))
    return f"{variant.parameters:7.2f} M {variant.macs:8.2f} G at {sides}"


def _licence(variant: Variant) -> str:
    """The licence of the weights, in words."""
    if variant.weights is None and variant.licence is None:
        return "no weights named"
    return f"weights: {variant.licence or 'unknown'}"
