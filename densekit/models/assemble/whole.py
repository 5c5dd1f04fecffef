"""Whole model configs, those with the type of their detector or segmentor: counts of the data are put into them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from densekit.config_tree import rebuilt
from densekit.errors import ConfigError
from densekit.models.assemble.backbone import nothing_frozen, random_weights
from densekit.models.assemble.parts import check_count, find_part, parameters, plain
from densekit.models.frozen import without_shell
from densekit.registry import MODELS
from densekit.structures.label_images import IGNORED

SEGMENTORS = {
    "EncoderDecoder": "densekit.SemanticSegmentor",
    "CascadeEncoderDecoder": "densekit.CascadeSemanticSegmentor",
}
"""What stands for the segmentors of MMSegmentation."""
MASK_HEADS = ("Mask2FormerHead", "MaskFormerHead")
"""Those whose ``out_channels`` are not the classes."""


def whole_config(
    model: Mapping[str, Any], num_classes: int, in_channels: int | None, *, pretrained: bool
) -> dict[str, Any]:
    """The config with the counts of the data.

    Raises:
        ConfigError: see :func:`densekit.models.assemble.model_config`.
    """
    check_count("num_classes", num_classes)
    kind = model["type"]
    segmentor = kind if inspect.isclass(kind) else MODELS.get(kind) if isinstance(kind, str) else None
    if getattr(segmentor, "spatial_dims", 2) == 3:
        return _with_counts(plain(model, scoped=False), num_classes, in_channels)
    whole = _with_classes(plain(model), num_classes)
    if isinstance(whole["type"], str) and whole["type"].removeprefix("mmseg.") in SEGMENTORS:
        whole = _segmentor(whole, num_classes, pretrained=pretrained)
    whole["type"] = _scoped(whole["type"])
    if not pretrained and isinstance(whole.get("backbone"), dict):
        backbone = without_shell(whole["backbone"])
        part = find_part(backbone.get("type"), "backbone")
        backbone |= {**nothing_frozen(part), **random_weights(part)}
    return whole


def _segmentor(model: dict[str, Any], num_classes: int, *, pretrained: bool) -> dict[str, Any]:
    """A segmentor of MMSegmentation as ours, with a logit for each class and the value that labels have for none.

    Batch norms over all processes become ordinary ones, which one process without a GPU has; a run of several makes
    them so again.
    """
    if num_classes < 2:
        raise ConfigError(f"num_classes={num_classes}: {model['type']} tells classes from each other; give two or more")
    model = rebuilt(model, lambda item: "BN" if item in ("SyncBN", "mmseg.SyncBN") else item)
    model["type"] = SEGMENTORS[model["type"].removeprefix("mmseg.")]
    if not pretrained:
        model.pop("pretrained", None)
    for role in ("decode_head", "auxiliary_head"):
        heads = model.get(role) or []
        for head in heads if isinstance(heads, list) else [heads]:
            if "out_channels" in head and str(head.get("type")).rpartition(".")[2] not in MASK_HEADS:
                head["out_channels"] = num_classes
            if "ignore_index" in head:
                head["ignore_index"] = IGNORED
    return model


def _with_counts(model: dict[str, Any], num_classes: int, in_channels: int | None) -> dict[str, Any]:
    """A segmentor of volumes with the counts where it leaves them out."""
    head, backbone = model.get("head"), model.get("backbone")
    if not all(isinstance(part, dict) and "type" in part for part in (head, backbone)):
        raise ConfigError("model needs a backbone and a head, each a dict with a type")
    counts = [("head", "num_classes", num_classes, "classes (the background counts as one)")]
    if in_channels is not None:
        counts.append(("backbone", "in_channels", in_channels, "image channels"))
    found = MODELS.get(backbone["type"]) if isinstance(backbone["type"], str) else None
    if found is not None and "num_classes" in parameters(found):  # a whole network as backbone ends in classes as well
        counts.append(("backbone", "num_classes", num_classes, "classes (the background counts as one)"))
    for role, key, count, unit in counts:
        if model[role].setdefault(key, count) != count:
            raise ConfigError(
                f"model.{role}.{key}={model[role][key]}, but the data set has {count} {unit}; leave the key out, it is "
                "read from the data set"
            )
    return model


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
    """The weights of a loss for another number of classes; one more than there are is that of the background."""
    if before in (num_classes, None) or len(weights) - before not in (0, 1):
        return weights
    background = weights[before:]
    if len(set(weights[:before])) > 1:
        more = f"{num_classes + 1} weights, the last for the background," if background else f"{num_classes} weights"
        raise ConfigError(
            f"{where}: it has a weight for each of {before} classes, the data have {num_classes}; give {more} and set "
            "the number of classes beside them"
        )
    return [weights[0]] * num_classes + background
