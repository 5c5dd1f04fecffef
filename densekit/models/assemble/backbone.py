"""The backbone of a model: named sizes, timm's names, and what goes with published weights or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from densekit.models.assemble.parts import Part, Wired, merge, parameters, split
from densekit.models.frozen import unfrozen
from densekit.models.variants import VARIANTS, resnet_settings
from densekit.registry import MODELS


def backbone_part(given: Part, *, pretrained: bool, frozen: bool = True) -> Wired:
    """The backbone that a name, a class or a config stands for; a ResNet with its published settings.

    Args:
        given: See :func:`densekit.models.assemble.assemble`; ``frozen=True`` in its config freezes the whole of it.
        pretrained: As ``given``.
        frozen: Whether it is trained as a detector's is: first stages and batch norms stay as its weights have them.
    """
    given, whole = unfrozen(given)
    if whole:
        return replace(backbone_part(given, pretrained=pretrained, frozen=frozen), frozen=True)
    kind = given.get("type") if isinstance(given, Mapping) else given
    if isinstance(kind, str) and kind in VARIANTS:
        variant = VARIANTS[kind]
        own = {key: value for key, value in given.items() if key != "type"} if isinstance(given, Mapping) else {}
        weights = {"pretrained": pretrained and variant.weights is not None} if variant.part == "TimmBackbone" else {}
        given = {"type": variant.part, **merge({**variant.arguments, **weights}, own)}
    elif isinstance(given, str) and given and MODELS.get(given) is None and _is_timm(given):
        given = {"type": "TimmBackbone", "name": given, "pretrained": pretrained}
    wired = split(given, "backbone")
    part = wired.part
    if not (pretrained and frozen):
        random = {} if pretrained else random_weights(part)
        wired = Wired(part, {**nothing_frozen(part), **wired.arguments, **random})
    if wired.part.__module__ == "mmdet.models.backbones.resnet" and "depth" in wired.arguments:
        scratch = wired.arguments.get("init_cfg", True) is None
        return Wired(wired.part, {**resnet_settings(wired.arguments["depth"], scratch=scratch), **wired.arguments})
    return wired


def random_weights(backbone: type[nn.Module]) -> dict[str, Any]:
    """The argument without which a backbone would load its published weights, if it has one."""
    if backbone.__name__ == "TimmBackbone":
        return {"pretrained": False}
    return next(({key: None} for key in ("init_cfg", "pretrained") if key in parameters(backbone)), {})


def nothing_frozen(backbone: type[nn.Module]) -> dict[str, Any]:
    """The arguments, as far as a backbone has them, with which no stage is frozen and batch norms learn."""
    known = parameters(backbone)
    settings = {"norm_eval": False} if "norm_eval" in known else {}
    if "frozen_stages" in known:
        settings["frozen_stages"] = known["frozen_stages"].default  # for none: -1, in MMDetection's EfficientNet 0
    return settings


def _is_timm(name: str) -> bool:
    import timm

    return timm.is_model(name)
