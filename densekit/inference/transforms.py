"""The transforms of an image that a checkpoint brings with it, built as data, and whether its weights are numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import nn

import densekit.registry as ours
from densekit.config_tree import rebuilt, types
from densekit.errors import CheckpointError, ConfigError, close_names

_NAME = re.compile(r"((densekit|mmdet|mmseg|mmcv|mmengine)\.)?[A-Za-z_][A-Za-z0-9_]*")
"""A registered name. MMEngine takes any other dotted name for a path and imports it, whatever it is."""


def build_transforms(pipeline: Sequence[Mapping[str, Any]], scope: str) -> list[Callable[[dict], dict | None]]:
    """Build transforms from their configs.

    Only registered names may stand under ``type``: what a checkpoint brings with it is never imported as code.

    Args:
        pipeline: The configs.
        scope: Whose registry names are looked up in: ``"mmdet"`` or ``"mmseg"``.

    Raises:
        ConfigError: if one is unknown or does not take an argument it is given.
    """
    from mmengine.registry import DefaultScope

    registry = import_module(f"{scope}.registry").TRANSFORMS
    registry.import_from_location()
    built = []
    with DefaultScope.overwrite_default_scope(scope):
        for number, given in enumerate(pipeline):
            for kind in types(given) if "type" in given else [None]:
                if isinstance(kind, type) and registry.get(kind.__name__) is kind:
                    continue
                if not isinstance(kind, str) or not _NAME.fullmatch(kind) or registry.get(kind) is None:
                    known = [*registry.module_dict, *ours.TRANSFORMS.module_dict]
                    raise ConfigError(f"pipeline.{number}: unknown transform {kind!r}{close_names(str(kind), known)}")
            try:
                built.append(registry.build(_with_tuples(given)))
            except (TypeError, ValueError, AssertionError, KeyError) as error:
                reason = " ".join(str(error).split())
                raise ConfigError(f"pipeline.{number}: {given['type']} cannot be built here: {reason}") from error
    return built


def _with_tuples(config: Any) -> Any:
    """Sizes as tuples: MMDetection refuses the lists that JSON makes of them."""

    def tuples(value: Any) -> Any:
        return tuple(value) if isinstance(value, list) and all(isinstance(item, Real) for item in value) else value

    def change(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: rebuilt(v, tuples) if "scale" in k or "size" in k else v for k, v in value.items()}

    return rebuilt(config, change)


def check_finite(model: nn.Module, path: Path) -> None:
    """A score that is NaN fails every threshold, so a broken network would find nothing without a word."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(
                f"{path}: weights are NaN or infinite (first: {name}), the training had diverged; use an earlier "
                f"checkpoint, or train again with a lower learning rate"
            )
