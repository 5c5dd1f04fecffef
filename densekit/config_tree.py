"""Config trees: dicts in dicts, lists and tuples, as MMEngine's configs, JSON files and checkpoints hold them.

One way to look at every value (:func:`walk`), one to make a changed copy (:func:`rebuilt`), and what is asked of a tree
again and again in their terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from densekit.errors import ConfigError
from densekit.registry import MODELS


def walk(tree: Any, *place: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value inside a tree, an outer one before those in it, with the keys and numbers that lead to it.

    Args:
        tree: ``{"head": [{"type": "A"}]}`` gives ``("head",)``, ``("head", 0)`` and ``("head", 0, "type")``.
        *place: Where the tree itself stands.
    """
    if isinstance(tree, Mapping):
        items = tree.items()
    else:
        items = enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    for key, value in items:
        yield (*place, key), value
        yield from walk(value, *place, key)


def dotted(place: tuple[str | int, ...]) -> str:
    """``("head", 0, "type")`` as the command line writes it: ``head.0.type``."""
    return ".".join(map(str, place))


def types(tree: Any) -> list[Any]:
    """Whatever stands under ``type``: names and classes of parts."""
    return [value for place, value in walk(tree) if place[-1] == "type"]


def rebuilt(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A copy in dicts, lists and tuples of its own, each value being what ``change`` makes of it, inner ones first."""
    if isinstance(tree, Mapping):
        tree = {key: rebuilt(value, change) for key, value in tree.items()}
    elif isinstance(tree, (list, tuple)):
        items = [rebuilt(value, change) for value in tree]
        tree = tuple(items) if isinstance(tree, tuple) else items
    return change(tree)


def plain(tree: Any) -> Any:
    """A copy in ordinary dicts, lists and tuples; classes and scalars as they are."""
    return rebuilt(tree, lambda value: value)


def class_name(part: type) -> str:
    """The name of a class alone."""
    return part.__name__


def registered_name(part: type) -> str:
    """The name of a class, which must be the one that it is registered under.

    Raises:
        ConfigError: if it is in no MODELS registry.
    """
    if MODELS.get(part.__name__) is not part:
        raise ConfigError(f"{part.__name__} is not registered in MODELS: decorate it with @MODELS.register_module()")
    return part.__name__


def written(tree: Any, name: Callable[[type], str] = class_name) -> Any:
    """A config as JSON holds it: text for keys, lists for tuples, names for classes.

    Args:
        tree: The config.
        name: What a class is written as.

    Raises:
        ConfigError: for a value that is not data.
    """

    def change(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): child for key, child in value.items()}
        if isinstance(value, (list, tuple)):
            return list(value)
        if isinstance(value, type):
            return name(value)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise ConfigError(f"a config holds plain values only, not {type(value).__name__} ({value!r})")

    return rebuilt(tree, change)


def flat(tree: Any, *place: str | int) -> dict[str, Any]:
    """A tree as one dict with dotted names; a list without dicts in it stays whole."""
    if isinstance(tree, Mapping):
        items = tree.items()
    elif isinstance(tree, (list, tuple)) and any(isinstance(value, Mapping) for value in tree):
        items = enumerate(tree)
    else:
        return {dotted(place): tree}
    return {name: value for key, child in items for name, value in flat(child, *place, key).items()}
