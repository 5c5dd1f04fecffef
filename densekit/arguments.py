"""Arguments of the Python API, held against the plain types of their annotations."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import wraps
from numbers import Integral
from typing import Any, TypeVar

from densekit.errors import ConfigError

T = TypeVar("T")

_KINDS = {"None": type(None), "bool": bool, "int": Integral, "str": str, "Path": os.PathLike}
_WORDS = {"bool": "True or False", "int": "a whole number", "str": "a text", "Path": "a path"}


def checked(function: Callable[..., T]) -> Callable[..., T]:
    """Refuse, in one line, an argument that is missing, unknown, empty or not of the types its annotation names.

    Annotations are those of plain types, joined by ``|``, and of classes of the function's own module; an argument with
    another one is left to the function.

    Raises:
        ConfigError: naming the argument, what was given and what is expected.
    """
    signature = inspect.signature(function)

    def kind(name: str) -> type | None:
        own = function.__globals__.get(name)
        return _KINDS.get(name) or (own if getattr(own, "__module__", None) == function.__module__ else None)

    @wraps(function)
    def call(*args: Any, **given: Any) -> T:
        try:
            bound = signature.bind(*args, **given).arguments
        except TypeError as error:  # one that is missing or unknown; Python's words do not say of what
            names = ", ".join(p for p in signature.parameters if p != "self")
            raise ConfigError(f"{function.__name__}(): {error}; its arguments: {names}") from None
        for name, value in bound.items():
            named = str(signature.parameters[name].annotation).split(" | ")
            kinds = [kind(one) for one in named]
            if None in kinds:
                continue
            holds = bool in kinds if isinstance(value, bool) else isinstance(value, tuple(kinds)) and value != ""
            if not holds:
                words = [_WORDS.get(n, f"a {n}") for n in named if n != "None" and not (n == "str" and "Path" in named)]
                short = isinstance(value, (str, int, float, type(None)))
                shown = f"={value!r}" if short else f": {type(value).__name__} given"
                raise ConfigError(f"{name}{shown}, expected {' or '.join(words)}")
        return function(*args, **given)

    return call
