"""Are the training and test settings that are put over a recipe read by anything?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from densekit.errors import ConfigError, close_names
from densekit.models.assemble.parts import find_task_part, merge, split

READ_WITH = {"assigner": "sampler", "mask_size": "soft_mask_target"}
"""What MMDetection reads besides, wherever the published settings have the first."""


def check_settings(settings: Any, given: Any, where: str, head: str) -> None:
    """Check what is put over the published settings of a detector.

    Args:
        settings: The published ones; a list has those of each stage, None stands for a part that they do not have.
        given: What is put over them.
        where: Its place in the model config.
        head: Name of the detector's head.

    Raises:
        ConfigError: for a key that nothing reads, with the place where it belongs or the close names; for an argument
            that the assigner, the sampler or the NMS does not take; for a list that is not one of all stages.
    """
    if isinstance(settings, list):
        if isinstance(given, list) and len(given) != len(settings):
            raise ConfigError(
                f"{where}: it is a list of {len(given)}, {head} has {len(settings)} stages; give one for each, or one "
                "alone, without a list, for all"
            )
        for one in listed(given):
            check_settings(settings[0], one, where, head)
        return
    if not isinstance(given, Mapping):
        return
    whole = merge(settings, given)
    if "type" in whole or settings is None:
        _check_part(whole, where)
        return
    if not isinstance(settings, Mapping):
        return
    known = [*settings, *(READ_WITH[key] for key in settings if key in READ_WITH)]
    for key, value in given.items():
        if key not in known:
            places = " or ".join(_places(settings, key, where))
            hint = f"; it belongs in {places}" if places else close_names(key, known)
            others = f"; known: {', '.join(known)}" if known else "; leave it out"
            raise ConfigError(f"{where}: nothing reads {key!r} there with {head}{hint or others}")
        check_settings(settings.get(key), value, f"{where}.{key}", head)


def _check_part(part: Mapping[str, Any], where: str) -> None:
    if not where.endswith(".nms"):
        split(part, where, find_task_part)
        return
    from densekit.ops.mmcv_ext.nms import batched_nms  # torchvision, which most networks do without

    try:
        batched_nms(torch.empty(0, 4), torch.empty(0), torch.empty(0, dtype=torch.long), part)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _places(settings: Mapping[str, Any], key: str, where: str) -> Iterator[str]:
    """The places below ``where`` that have a key."""
    for name, inner in settings.items():
        inner = listed(inner)[0]
        if isinstance(inner, Mapping):
            if key in inner:
                yield f"{where}.{name}.{key}"
            yield from _places(inner, key, f"{where}.{name}")


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
