"""densekit: dense prediction in 2D and 3D, for radiology and detection.

Importing this package is cheap and silent: nothing heavier than the standard library is loaded here. What it offers in
Python is in :mod:`densekit.api` and loaded on first use; the registries in :mod:`densekit.registry` find their parts on
first use.
"""

from typing import TYPE_CHECKING, Any

from densekit.ops import mmcv_ext as _mmcv_ext

if TYPE_CHECKING:
    from densekit.api import (
        CheckResult,
        Model,
        TrainingRun,
        assemble,
        check,
        create_model,
        list_parts,
        load,
        score,
        train,
    )

__all__ = [
    "CheckResult",
    "Model",
    "TrainingRun",
    "__version__",
    "assemble",
    "check",
    "create_model",
    "list_parts",
    "load",
    "score",
    "train",
]
__version__ = "0.1.0"

_mmcv_ext.install()  # mmcv's compiled operators are served without a compiler, from the moment somebody asks for them


def __getattr__(name: str) -> Any:
    if name == "errors":
        from importlib import import_module

        return import_module("densekit.errors")
    if name not in __all__:
        raise AttributeError(f"module 'densekit' has no attribute {name!r}")
    from densekit import api

    globals()[name] = value = getattr(api, name)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "errors"])
