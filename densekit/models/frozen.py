"""Encoders that do not learn: any backbone, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from densekit.errors import ConfigError
from densekit.registry import MODELS

SHELL = "FrozenBackbone"


class Frozen:
    """Mixed into the class of a module that stays in eval mode and computes no gradient."""

    def train(self, mode: bool = True) -> Frozen:
        """Stay in eval mode."""
        super().train(False)
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Without gradients."""
        with torch.no_grad():
            return super().forward(*args, **kwargs)


@cache
def _frozen(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (Frozen, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})


def freeze(module: nn.Module) -> nn.Module:
    """Freeze a whole module in place: no parameter learns, it stays in eval mode, no gradient is computed through it.

    It is the same object with the same parameter names, so that weights of the frozen and the learning one are
    exchangeable.
    """
    if not isinstance(module, Frozen):
        module.__class__ = _frozen(type(module))
    return module.requires_grad_(False).train(False)


@MODELS.register_module(name=SHELL)
def frozen_backbone(backbone: Mapping[str, Any]) -> nn.Module:
    """A backbone, frozen: what ``frozen=True`` in the config of any backbone becomes.

    Args:
        backbone: Its config; a part of another library with its scope, as ``"mmdet.ResNet"``.
    """
    return freeze(MODELS.build(dict(backbone)))


def frozen_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a backbone, frozen."""
    return {"type": f"densekit.{SHELL}", "backbone": dict(config)}


def without_shell(config: Any) -> Any:
    """The config of a backbone itself, also where it stands in that of a frozen one."""
    inside = isinstance(config, Mapping) and str(config.get("type")).rpartition(".")[2] == SHELL
    return config["backbone"] if inside else config


def unfrozen(given: Any) -> tuple[Any, bool]:
    """A backbone as :func:`densekit.models.assemble.assemble` takes it, and whether it is to be frozen.

    Raises:
        ConfigError: if its ``frozen`` is neither True nor False.
    """
    inner = without_shell(given)
    if not isinstance(inner, Mapping) or "frozen" not in inner:
        return inner, inner is not given
    if not isinstance(inner["frozen"], bool):
        raise ConfigError(f"backbone.frozen={inner['frozen']!r}: expected True or False; stages: frozen_stages")
    bare = {key: value for key, value in inner.items() if key != "frozen"}
    return bare, inner["frozen"] or inner is not given
