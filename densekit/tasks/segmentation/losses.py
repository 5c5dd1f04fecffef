"""What a config says of losses, put into the heads of a model: which, class weights, hard pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from densekit.errors import ConfigError, close_names, few

BALANCED = "balanced"
LOSSES = {
    "ce": {"type": "mmseg.CrossEntropyLoss", "use_sigmoid": False, "avg_non_ignore": True},
    "dice": {"type": "densekit.SoftDiceLoss"},
    "lovasz": {"type": "mmseg.LovaszLoss", "reduction": "none", "loss_name": "loss_lovasz"},
    "boundary": {"type": "densekit.BorderDistanceLoss"},
    "focal": {"type": "densekit.PixelFocalLoss"},
}
"""Losses by the names that configs have for them."""
_MOST = 10.0
_MASK_HEADS = ("Mask2FormerHead", "MaskFormerHead")


def class_weights(given: Any, names: Sequence[str], pixels: np.ndarray) -> list[float] | None:
    """A weight for each class.

    Args:
        given: :data:`BALANCED`: the median of the classes' shares of the training's pixels over that of each (Eigen
            and Fergus 2015, arXiv 1411.4734), from 1/10 to 10; a number for each; or numbers by name.
        names: Of the classes.
        pixels: Of each class in the training images.

    Raises:
        ConfigError: for a name that is no class, or another number of weights.
    """
    if given is None:
        return None
    if given == BALANCED:
        there = pixels > 0
        weights = np.ones(len(names))
        weights[there] = np.clip(np.median(pixels[there]) / pixels[there], 1 / _MOST, _MOST)
        return [round(float(weight), 4) for weight in weights]
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"class_weight: there is no class {name!r}{close_names(name, names)}; there are {few(names)}"
                )
        return [float(given.get(name, 1.0)) for name in names]
    if len(given) != len(names):
        raise ConfigError(f"class_weight: {len(given)} numbers, the data have {len(names)} classes; give one for each")
    return [float(weight) for weight in given]


def with_losses(
    model: dict[str, Any],
    losses: Mapping[str, float] | None,
    weights: Sequence[float] | None,
    ohem: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A model config whose heads have these losses; auxiliary ones keep theirs, with the weights of the classes.

    Raises:
        ConfigError: for a head that classifies masks, which has losses of its own; for ``ohem`` with the focal loss.
    """
    if losses is None and weights is None and ohem is None:
        return model
    head = model["decode_head"]
    stages = head if isinstance(head, list) else [head]
    kind = str(stages[-1]["type"]).rpartition(".")[2]
    if kind in _MASK_HEADS:
        raise ConfigError(f"losses, class_weight, ohem: {kind} classifies masks and has losses of its own; leave out")
    if ohem is not None and "focal" in (losses or ()):
        raise ConfigError("ohem: the focal loss weighs hard pixels itself; leave one of the two out")
    changed = [_changed(stage, losses, weights, ohem) for stage in stages]
    model = {**model, "decode_head": changed if isinstance(head, list) else changed[0]}
    if weights is not None and (beside := model.get("auxiliary_head")):
        listed = beside if isinstance(beside, list) else [beside]
        weighted = [_changed(stage, None, weights, None) for stage in listed]
        model["auxiliary_head"] = weighted if isinstance(beside, list) else weighted[0]
    return model


def _changed(head: dict[str, Any], losses: Any, weights: Any, ohem: Any) -> dict[str, Any]:
    given = head.get("loss_decode", {**LOSSES["ce"], "loss_weight": 1.0})
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    if losses is not None:
        given = [{**LOSSES[name], "loss_weight": float(weight)} for name, weight in losses.items()]
    if weights is not None:
        given = [
            {**loss, "class_weight": list(weights)} if str(loss["type"]).endswith("CrossEntropyLoss") else loss
            for loss in given
        ]
    head = {**head, "loss_decode": given if len(given) > 1 else given[0]}
    if ohem is not None:
        head["sampler"] = {"type": "OHEMPixelSampler", **ohem}
    return head
