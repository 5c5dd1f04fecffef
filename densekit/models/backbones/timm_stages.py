"""Stages of timm's networks that stay as their weights have them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from densekit.errors import ConfigError

STEM = 4
"""Pixels of the image per pixel of the first stage's map."""


def freeze_stages(network: nn.Module, stages: int, who: str) -> list[nn.Module]:
    """Freeze the first stages of a network of timm.

    Args:
        network: Built with ``features_only``.
        stages: How many, -1: none, 0: what stands before the first.
        who: The network's name, for an error.

    Returns:
        The modules that stay in eval mode.

    Raises:
        ConfigError: if it has no stages, or fewer.
    """
    if stages == -1:
        return []
    levels = [level for level in network.feature_info.info if level["reduction"] >= STEM]
    count = len(levels) if len({level["reduction"] for level in levels}) > 1 else 0
    if not 0 <= stages <= count or not count:
        has = f"it has {count} stages" if count else "its maps are of one stride, so it has no stages"
        raise ConfigError(f"{who}: frozen_stages={stages}: {has}; leave it out, or freeze the whole by frozen=True")
    modules = dict(network.named_modules())
    end = levels[max(stages - 1, 0)]["module"]
    inside = [place for place, name in enumerate(modules) if _is_of(name, end)]
    if not inside:
        raise ConfigError(f"{who}: frozen_stages={stages}: timm does not tell where its stages end; leave it out")
    last = inside[-1] if stages else inside[0] - 1
    for module in list(modules.values())[: last + 1]:
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.requires_grad_(False)
    return list(_still(network))


def _is_of(name: str, level: str) -> bool:
    """Whether a module is the one that gives a level, or inside it; timm writes dots of names as underscores."""
    name = name.removeprefix("model.").removeprefix("body.").replace(".", "_")
    level = (
        level.replace("block.", "stages.").replace(".", "_") if name.startswith("stages_") else level.replace(".", "_")
    )
    return name == level or name.startswith(f"{level}_")


def _still(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules in which nothing learns."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        yield module
        return
    for child in module.children():
        yield from _still(child)
