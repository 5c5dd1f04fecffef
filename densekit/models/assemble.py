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
from densekit.models.wiring import (
    Wired,
    build_on_meta,
    check_classes,
    check_dimensions,
    find_part,
    parameters,
    plain,
    split,
)
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
        pretrained: Of a detector. False: the backbone starts from random weights, so that none of its stages is frozen
            and its batch norms learn, unless its config says so itself. In a config file this key stands beside
            ``model``.

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
            ``num_classes`` and ``num_things_classes`` is set to the number given here, and a ``class_weight`` of equal
            weights follows.
        num_classes: See :func:`assemble`.
        pretrained: See :func:`assemble`. What a whole config says of frozen stages and batch norms of its backbone is
            for the weights it names: False replaces that as well.

    Raises:
        ConfigError: see :func:`assemble`, or for an argument it does not have; for a whole config with stuff classes,
            or with different weights of classes that are not those of the data.
    """
    if "type" in model:
        whole = _with_classes(plain(model), num_classes)
        whole["type"] = _scoped(whole["type"])
        if not pretrained and isinstance(whole.get("backbone"), dict):
            part = find_part(whole["backbone"].get("type"), "backbone")
            whole["backbone"] |= {**_nothing_frozen(part), **_random_weights(part)}
        return ConfigDict(whole)
    known = [name for name in inspect.signature(assemble).parameters if name not in ("num_classes", "pretrained")]
    for key in model:
        if key not in known:
            raise ConfigError(f"model: assemble() takes no argument {key!r}{close_names(key, known)}")
    for key in ("backbone", "head"):
        if key not in model:
            raise ConfigError(f"model: it has no {key}; give one, or a whole MMEngine config with its type")
    return assemble(**model, num_classes=num_classes, pretrained=pretrained)


def _scoped(kind: Any) -> Any:
    """MMDetection's name of a whole model with its scope, as its own configs need not give it."""
    if not isinstance(kind, str) or "." in kind or MODELS.get(kind) is not None:
        return kind
    from mmdet.registry import MODELS as MMDETECTION

    return f"mmdet.{kind}" if MMDETECTION.get(kind) is not None else kind


def _with_classes(config: Any, num_classes: int, where: str = "model", before: int | None = None) -> Any:
    """The config with another number of classes; ``before`` is the number of what it stands in."""
    if isinstance(config, list):
        return [_with_classes(item, num_classes, f"{where}.{i}", before) for i, item in enumerate(config)]
    if not isinstance(config, dict):
        return config
    if config.get("num_stuff_classes"):
        raise ConfigError(
            f"{where}.num_stuff_classes={config['num_stuff_classes']}: panoptic segmentation, of things and stuff, is "
            "not what densekit trains; take the form of this config for instances, with num_stuff_classes=0"
        )
    before = config.get("num_classes", config.get("num_things_classes", before))
    changed = {}
    for key, value in config.items():
        if key in ("num_classes", "num_things_classes"):
            changed[key] = num_classes
        elif key == "class_weight" and isinstance(value, list):
            changed[key] = _class_weights(value, before, num_classes, f"{where}.{key}")
        else:
            changed[key] = _with_classes(value, num_classes, f"{where}.{key}", before)
    return changed


def _class_weights(weights: list[float], before: int | None, num_classes: int, where: str) -> list[float]:
    """The weights of a loss for another number of classes, where the last of them is that of the background."""
    if before == num_classes or len(weights) - 1 != before:
        return weights
    if len(set(weights[:-1])) > 1:
        raise ConfigError(
            f"{where}: it has a weight for each of {before} classes, the data have {num_classes}; give "
            f"{num_classes + 1} weights, the last for the background, and set the number of classes beside them"
        )
    return [weights[0]] * num_classes + weights[-1:]


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
        part = wired.part
        wired = Wired(part, {**_nothing_frozen(part), **wired.arguments, **_random_weights(part)})
    if wired.part.__module__ == "mmdet.models.backbones.resnet" and "depth" in wired.arguments:
        scratch = wired.arguments.get("init_cfg", True) is None
        settings = published.resnet(wired.arguments["depth"], scratch=scratch)
        return Wired(wired.part, {**settings, **wired.arguments})
    return wired


def _random_weights(backbone: type[nn.Module]) -> dict[str, Any]:
    """The argument without which a backbone would load its published weights, if it has one."""
    if backbone.__name__ == "TimmBackbone":
        return {"pretrained": False}
    return {"init_cfg": None} if "init_cfg" in parameters(backbone) else {}


def _nothing_frozen(backbone: type[nn.Module]) -> dict[str, Any]:
    """The arguments, as far as a backbone has them, with which no stage is frozen and batch norms learn."""
    known = parameters(backbone)
    settings = {"norm_eval": False} if "norm_eval" in known else {}
    if "frozen_stages" in known:
        settings["frozen_stages"] = known["frozen_stages"].default  # for none: -1, in MMDetection's EfficientNet 0
    return settings


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
