"""From parts to a model config: channels, strides and whatever else follows from the backbone are wired, not typed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict
from torch import nn

from densekit.errors import ConfigError, close_names
from densekit.models import published
from densekit.models.checks import check_fit
from densekit.models.detector_wiring import DetectorWiring
from densekit.models.wiring import Wired, build_on_meta, check_classes, check_dimensions, plain, split
from densekit.registry import MODELS

Part = str | type | Mapping[str, Any]
"""A registered name, a class, or a config: its ``type`` and the arguments that are not to be filled in."""


def assemble(
    *,
    backbone: Part,
    head: Part,
    num_classes: int,
    neck: Part | Sequence[Part] | None = None,
    rpn_head: Part | None = None,
    train_cfg: Mapping[str, Any] | None = None,
    test_cfg: Mapping[str, Any] | None = None,
    data_preprocessor: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    pretrained: bool = True,
) -> ConfigDict:
    """Make the config of a model out of its parts.

    Numbers that follow from other parts are filled in: channels, strides, levels, class counts, and for a detector the
    published settings of its head (:mod:`densekit.models.published`). Whatever a part's config gives itself stays.

    A detector: ``assemble(backbone="resnet50", neck=["FPN", "SEPC"], head="SEPCRetinaHead", num_classes=80)``. Heads
    are MMDetection's dense heads of RetinaNet, FreeAnchor, FSAF, ATSS, GFL and FCOS, their forms for SEPC, and
    ``StandardRoIHead`` and ``CascadeRoIHead``; with a ``mask_head`` these two predict masks as well.

    For volumes: ``assemble(backbone="DFormer", neck="DFormerDecoder", head="PatchExpandingHead", num_classes=9)``.

    Args:
        backbone: In 2D also the name of a ResNet (``"resnet50"``, MMDetection's, with torchvision's weights) or any
            name of timm.
        head: See above.
        num_classes: Of a detector, without background; for volumes with background.
        neck: One, several in a row, or None.
        rpn_head: Of a two-stage detector, put over the published settings.
        train_cfg: Of a detector, put over the published settings.
        test_cfg: As ``train_cfg``.
        data_preprocessor: Of a detector, put over normalisation by the mean and SD the backbone was trained with.
        inference: For volumes, see :class:`densekit.models.assemblies.VolumeSegmentor`.
        pretrained: Of a detector with a ResNet or a backbone of timm. False: it starts from random weights, so that
            none of its stages is frozen and its batch norms learn. In a config file this key stands beside ``model``.

    Returns:
        An ordinary MMEngine config in plain values. The parts of a detector are named as ``type="mmdet.RetinaNet"``, so
        that every registry finds them; those for volumes as ``type="DFormer"``.

    Raises:
        ConfigError: for parts that do not fit (the message names both, and what would fit), an unknown part or
            argument.
    """
    necks = [] if neck is None else [neck] if isinstance(neck, (str, type, Mapping)) else list(neck)
    first, last = _backbone(backbone, pretrained), split(head, "head")
    between = [split(part, "neck") for part in necks]
    dims = check_dimensions(
        [("backbones", first.part), *(("necks", neck.part) for neck in between), ("heads", last.part)]
    )
    check_classes(last, num_classes)
    settings = {
        "rpn_head": rpn_head,
        "train_cfg": train_cfg,
        "test_cfg": test_cfg,
        "data_preprocessor": data_preprocessor,
    }
    if dims == 2:
        _refuse("inference", inference, last, "it is for volumes")
        return ConfigDict(DetectorWiring(first, last, num_classes).config(between, **settings))
    for name, value in settings.items():
        _refuse(name, value, last, "it is for detectors")
    return ConfigDict(_volume_segmentor(first, between, last, num_classes, inference))


def _refuse(argument: str, value: Any, head: Wired, reason: str) -> None:
    if value is not None:
        raise ConfigError(f"{argument}: a model with {head.name} does not take it, {reason}; leave it out")


def model_config(model: Mapping[str, Any], num_classes: int, *, pretrained: bool = True) -> ConfigDict:
    """The model config that the ``model`` of a config file stands for.

    Args:
        model: The arguments of :func:`assemble`, or an ordinary MMEngine config with its ``type``, in which every
            ``num_classes`` is set to the number given here.
        num_classes: See :func:`assemble`.
        pretrained: See :func:`assemble`.

    Raises:
        ConfigError: see :func:`assemble`, or for an argument it does not have.
    """
    if "type" in model:
        whole = _with_classes(plain(model), num_classes)
        if not pretrained and isinstance(whole.get("backbone"), dict):
            whole["backbone"]["init_cfg"] = None
        return ConfigDict(whole)
    known = [name for name in inspect.signature(assemble).parameters if name not in ("num_classes", "pretrained")]
    for key in model:
        if key not in known:
            raise ConfigError(f"model: assemble() takes no argument {key!r}{close_names(key, known)}")
    for key in ("backbone", "head"):
        if key not in model:
            raise ConfigError(f"model: it has no {key}; give one, or a whole MMEngine config with its type")
    return assemble(**model, num_classes=num_classes, pretrained=pretrained)


def _with_classes(config: Any, num_classes: int) -> Any:
    if isinstance(config, dict):
        return {
            key: num_classes if key == "num_classes" else _with_classes(value, num_classes)
            for key, value in config.items()
        }
    return [_with_classes(item, num_classes) for item in config] if isinstance(config, list) else config


def _backbone(given: Part, pretrained: bool) -> Wired:
    """The backbone; a ResNet with its published settings."""
    if isinstance(given, str):
        depth = re.fullmatch(r"resnet(18|34|50|101|152)", given)
        if depth:
            given = {"type": "mmdet.ResNet", "depth": int(depth[1])}
        elif not _is_registered(given) and _is_timm(given):
            given = {"type": "TimmBackbone", "name": given, "pretrained": pretrained}
    wired = split(given, "backbone")
    if not pretrained:
        scratch = {"pretrained": False} if wired.part.__name__ == "TimmBackbone" else {"init_cfg": None}
        wired = Wired(wired.part, {**wired.arguments, **scratch})
    if wired.part.__module__ == "mmdet.models.backbones.resnet" and "depth" in wired.arguments:
        scratch = wired.arguments.get("init_cfg", True) is None
        settings = published.resnet(wired.arguments["depth"], scratch=scratch)
        return Wired(wired.part, {**settings, **wired.arguments})
    return wired


def _is_registered(name: str) -> bool:
    return MODELS.get(name) is not None


def _is_timm(name: str) -> bool:
    import timm

    return timm.is_model(name)


def _volume_segmentor(
    backbone: Wired, necks: list[Wired], head: Wired, num_classes: int, inference: Mapping[str, Any] | None
) -> dict[str, Any]:
    if len(necks) > 1:
        names = ", ".join(neck.part.__name__ for neck in necks)
        raise ConfigError(f"VolumeSegmentor takes one neck, these are {len(necks)}: {names}")
    classes = {"num_classes": num_classes}
    parts = {"backbone": backbone.with_facts(classes)}
    source = build_on_meta(parts["backbone"])
    for neck in necks:
        parts["neck"] = neck.with_facts(_facts(source))
        target = build_on_meta(parts["neck"])
        check_fit(source, target, all_levels=True)
        source = target
    parts["head"] = head.with_facts({**_facts(source), **classes})
    check_fit(source, build_on_meta(parts["head"]), all_levels=False)
    configs = {role: wired.config(scoped=False) for role, wired in parts.items()}
    return {"type": "VolumeSegmentor", **configs, **({"inference": plain(inference)} if inference else {})}


def _facts(source: nn.Module) -> dict[str, Any]:
    return {"in_channels": tuple(source.out_channels), "patch": tuple(source.out_strides[0])}
