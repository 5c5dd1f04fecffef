"""Pipelines of transforms as a config or a checkpoint gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_OWN = ("LoadImageFromFile", "LoadAnnotations", "PackDetInputs", "PackSegInputs")


def between(transforms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A pipeline without OpenMMLab's loading and packing, in whose place densekit's own stand."""

    def name(kind: Any) -> str:
        return getattr(kind, "__name__", str(kind)).rpartition(".")[2]

    return [dict(given) for given in transforms if name(given.get("type")) not in _OWN]
