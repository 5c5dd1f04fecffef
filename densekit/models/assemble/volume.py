"""How the parts of a segmentor for volumes are put together: :func:`densekit.models.assemble.assemble` in 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from densekit.errors import ConfigError
from densekit.models.assemble.parts import Wired, ask, check_classes
from densekit.models.contract import Said, check_fit, per_axis


def volume_config(backbone: Wired, necks: Sequence[Wired], head: Wired, num_classes: int) -> dict[str, Any]:
    """The config of a :class:`densekit.models.assemblies.VolumeSegmentor`; ``num_classes`` counts the background.

    Raises:
        ConfigError: for parts that do not fit.
    """
    if len(necks) > 1:
        names = ", ".join(neck.name for neck in necks)
        raise ConfigError(f"VolumeSegmentor takes one neck, these are {len(necks)}: {names}")
    classes = {"num_classes": num_classes}
    check_classes(backbone, num_classes)  # of a whole network as backbone, which ends in classes as well
    parts = {"backbone": backbone.with_facts({**classes, "spatial_dims": 3})}
    source = ask(parts["backbone"])
    for neck in necks:
        parts["neck"] = neck.with_facts(_offered(source))
        target = ask(parts["neck"])
        check_fit(source, target, all_levels=True)
        source = target
    parts["head"] = head.with_facts({**_offered(source), **classes})
    check_fit(source, ask(parts["head"]), all_levels=False)
    configs = {role: wired.config(scoped=False) for role, wired in parts.items()}
    return {"type": "VolumeSegmentor", **configs}


def _offered(source: Said) -> dict[str, Any]:
    """What a part offers to the one that comes after it."""
    if source.gives is None:
        return {}
    strides = tuple(per_axis(stride, source.dims) for stride in source.gives.strides)
    return {
        "spatial_dims": source.dims,
        "in_channels": source.gives.channels,
        "in_strides": strides,
        "patch": strides[0],
    }
