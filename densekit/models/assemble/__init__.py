"""From parts to a model config: channels, strides and whatever else follows from the backbone are wired, not typed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict

from densekit.errors import ConfigError, close_names
from densekit.models.assemble.backbone import backbone_part
from densekit.models.assemble.detector import DetectorWiring
from densekit.models.assemble.parts import (
    Part,
    Wired,
    check_classes,
    check_count,
    check_dimensions,
    segments_images,
    split,
)
from densekit.models.assemble.segmentor import SegmentorWiring, published_neck
from densekit.models.assemble.volume import volume_config
from densekit.models.assemble.whole import whole_config

__all__ = ["Part", "assemble", "model_config"]

_SETTINGS = {"train_cfg", "test_cfg", "data_preprocessor"}
TAKEN = {"volume": set(), "detector": {*_SETTINGS, "rpn_head"}, "segmentor": {*_SETTINGS, "auxiliary_head"}}
"""Arguments of :func:`assemble` that are put over published settings, by the kind of model."""


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
    auxiliary_head: Mapping[str, Any] | bool | None = None,
    in_channels: int | None = None,
    pretrained: bool = True,
) -> ConfigDict:
    """Make the config of a model out of its parts.

    Numbers that follow from other parts are filled in: channels, strides, levels, class counts, and for a detector the
    published settings of its head (:mod:`densekit.models.recipes`). Whatever a part's config gives itself stays.

    A detector: ``assemble(backbone="resnet50", neck=["FPN", "SEPC"], head="SEPCRetinaHead", num_classes=80)``. Heads
    are MMDetection's dense heads of RetinaNet, FreeAnchor, FSAF, ATSS, GFL and FCOS, their forms for SEPC, and
    ``StandardRoIHead`` and ``CascadeRoIHead``; with a ``mask_head`` these two predict masks as well.

    For volumes: ``assemble(backbone="dformer", neck="DFormerDecoder", head="PatchExpandingHead", num_classes=9)``.

    Args:
        backbone: Also a named size (``"resnet50"``, MMDetection's with torchvision's weights; ``"dformer"``; all are in
            :data:`densekit.models.variants.VARIANTS`), or any name of timm.
        head: See above.
        num_classes: Of a detector, without background; for volumes with background.
        neck: One, several in a row, or None.
        rpn_head: Of a two-stage detector, put over the published settings.
        train_cfg: Of a detector, put over the published settings.
        test_cfg: As ``train_cfg``.
        data_preprocessor: Of a detector, put over normalisation by the mean and SD the backbone was trained with.
        in_channels: Channels of the images. None: what the backbone takes by itself.
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
    check_count("num_classes", num_classes)
    if in_channels is not None:
        check_count("in_channels", in_channels)
    last = split(head, "head")
    segments = segments_images(last.part)
    first = _for_images(backbone_part(backbone, pretrained=pretrained, frozen=not segments), in_channels)
    if neck is None and segments:
        neck = published_neck(last)
    necks = [] if neck is None else list(neck) if isinstance(neck, (list, tuple)) else [neck]
    between = [split(part, "neck") for part in necks]
    dims = check_dimensions([("backbones", first), *(("necks", neck) for neck in between), ("heads", last)])
    check_classes(last, num_classes)
    settings = {"train_cfg": train_cfg, "test_cfg": test_cfg, "data_preprocessor": data_preprocessor}
    for name, value in settings.items():
        if value is not None and not isinstance(value, Mapping):
            raise ConfigError(f"{name}={value!r}: expected a dict")
    settings |= {"rpn_head": rpn_head, "auxiliary_head": auxiliary_head}
    taken = TAKEN["volume" if dims == 3 else "segmentor" if segments else "detector"]
    for name in settings.keys() - taken:
        if settings.pop(name) is not None:
            raise ConfigError(f"{name}: a model with {last.name} does not take it; leave it out")
    if dims == 3:
        return ConfigDict(volume_config(first, between, last, num_classes))
    wiring = SegmentorWiring if segments else DetectorWiring
    return ConfigDict(wiring(first, last, num_classes).config(between, **settings))


def _for_images(backbone: Wired, in_channels: int | None) -> Wired:
    """The backbone for images of so many channels."""
    if in_channels is None:
        return backbone
    given = backbone.arguments.get("in_channels", in_channels)
    if given != in_channels:
        raise ConfigError(
            f"{backbone.name}: in_channels={given}, but the images have {in_channels}; leave it out, it is read from "
            "the data"
        )
    return backbone.with_facts({"in_channels": in_channels})


def model_config(
    model: Mapping[str, Any], num_classes: int, *, in_channels: int | None = None, pretrained: bool = True
) -> ConfigDict:
    """The model config that the ``model`` of a config file stands for.

    Args:
        model: The arguments of :func:`assemble`, or an ordinary MMEngine config with its ``type``. In one of a detector
            every ``num_classes`` and ``num_things_classes`` is set to the number given here, and a ``class_weight`` of
            equal weights follows; in one of a segmentor for volumes the counts are filled in where it leaves them out.
        num_classes: See :func:`assemble`.
        in_channels: See :func:`assemble`.
        pretrained: See :func:`assemble`. What a whole config says of frozen stages and batch norms of its backbone is
            for the weights it names: False replaces that as well.

    Raises:
        ConfigError: see :func:`assemble`, or for an argument it does not have; for a whole config with stuff classes,
            with different weights of classes that are not those of the data, or for volumes with other counts.
    """
    if "type" in model:
        return ConfigDict(whole_config(model, num_classes, in_channels, pretrained=pretrained))
    counts = {"num_classes": num_classes, "in_channels": in_channels, "pretrained": pretrained}
    known = [name for name in inspect.signature(assemble).parameters if name not in counts]
    for key in model:
        if key not in known:
            raise ConfigError(f"model: assemble() takes no argument {key!r}{close_names(key, known)}")
    for key in ("backbone", "head"):
        if key not in model:
            raise ConfigError(f"model: it has no {key}; give one, or a whole MMEngine config with its type")
    return assemble(**model, **counts)
