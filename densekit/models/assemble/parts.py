"""Facts that parts offer and take: which class a name means, its arguments, and what it says once it is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from densekit.config_tree import class_name, rebuilt
from densekit.errors import ConfigError, close_names
from densekit.models.contract import FOREIGN_LEVELS, Pyramid, Said, probe, reason, said
from densekit.models.frozen import frozen_config
from densekit.models.on_meta import on_meta
from densekit.models.recipes import RECIPES, SEGMENTORS, SHORT_NAMES
from densekit.models.variants import VARIANTS
from densekit.registry import MODELS

Part = str | type | Mapping[str, Any]
"""A registered name, a class, or a config: its ``type`` and the arguments that are not to be filled in."""
SCOPES = ("densekit", "mmdet", "mmseg")
"""Packages whose registries have a name; parts of others (mmcv, mmengine) stand in MMEngine's own registry."""
UNDECLARED = ("init_cfg", "rng")
"""Arguments that no signature names: of every module, and of samplers, which take ``rng`` out of their ``**kwargs``."""
STOCK = {"backbones": ["ResNet"], "necks": ["FPN", "PAFPN"]}
"""Parts of MMDetection that are named as fitting, besides our own."""
_ASKED: dict[Hashable, Said] = {}
"""What parts said, so that none is built twice to be asked the same."""


def find_part(kind: Any, role: str) -> type[nn.Module]:
    """The class that is meant by a class or by a name.

    Plain names are looked up in densekit, then in MMDetection, then in MMSegmentation.

    Raises:
        ConfigError: naming the close names.
    """
    if inspect.isclass(kind):
        return kind
    if role == "head" and isinstance(kind, str):
        kind = SHORT_NAMES.get(kind, kind)
    named = isinstance(kind, str) and kind != ""
    found = MODELS.get(kind) if named else None
    for registry in (mmdet_models, mmseg_models) if named else ():
        found = registry().get(kind) if found is None else found
    if found is None:
        own = {"backbone": VARIANTS, "head": SHORT_NAMES}.get(role, ())
        known = [*own, *MODELS.module_dict, *mmdet_models().module_dict, *mmseg_models().module_dict]
        raise ConfigError(
            f"{role}: {kind!r} is no part of densekit, MMDetection or MMSegmentation{close_names(str(kind), known)}"
        )
    return found


def mmdet_models():
    """MMDetection's registry, with all its parts."""
    from mmdet.registry import MODELS as registry

    registry.import_from_location()
    return registry


def mmseg_models():
    """MMSegmentation's registry, with all its parts."""
    from mmseg.registry import MODELS as registry

    registry.import_from_location()
    return registry


def segments_images(head: type) -> bool:
    """Whether a head is one of MMSegmentation's kind: a class for each pixel of an image."""
    return any(base.__module__.startswith("mmseg.models.decode_heads") for base in head.__mro__)


def find_task_part(kind: Any, role: str) -> type:
    """The assigner or sampler of MMDetection that is meant by a class or by a name.

    Raises:
        ConfigError: naming the close names.
    """
    from mmdet.registry import TASK_UTILS

    if inspect.isclass(kind):
        return kind
    found = TASK_UTILS.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise ConfigError(
            f"{role}: {kind!r} is no assigner or sampler of MMDetection{close_names(str(kind), TASK_UTILS.module_dict)}"
        )
    return found


@dataclass(frozen=True)
class Wired:
    """A part: its class and its arguments; of a backbone also whether the whole of it is frozen."""

    part: type[nn.Module]
    arguments: dict[str, Any]
    frozen: bool = False

    @property
    def name(self) -> str:
        """The class's name."""
        return self.part.__name__

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The arguments the class takes, as far as it hands on others to its base classes also theirs."""
        return parameters(self.part)

    def takes(self, argument: str) -> bool:
        """Whether the class has an argument."""
        return argument in self.parameters

    def with_facts(self, facts: Mapping[str, Any]) -> Wired:
        """This part, with those of the facts that its class takes and that are not given already."""
        known = self.parameters
        return replace(self, arguments={**{k: v for k, v in facts.items() if k in known}, **self.arguments})

    def config(self, *, scoped: bool = True) -> dict[str, Any]:
        """The config in plain values, classes by the names they are registered under."""
        config = plain({"type": self.part, **self.arguments}, scoped=scoped)
        return frozen_config(config) if self.frozen else config

    @property
    def dims(self) -> int | None:
        """2 for images, 3 for volumes, None where its ``spatial_dims`` is an argument that is not given."""
        fixed = getattr(self.part, "spatial_dims", None)
        if isinstance(fixed, int):
            return fixed
        return self.arguments.get("spatial_dims") if self.takes("spatial_dims") else 2

    @property
    def levels(self) -> str:
        """Of a neck, see :data:`densekit.models.contract.LEVELS`."""
        own = getattr(self.part, "levels", None) or FOREIGN_LEVELS.get(self.name)
        one = self.takes("in_channels") and self.parameters["in_channels"].annotation in (int, "int")
        return own or ("equal" if one else "all")


def split(given: Any, role: str, find: Callable[[Any, str], type] = find_part) -> Wired:
    """A part that is given as a name, a class or a config, for a place in the model; ``find`` looks up its class.

    Raises:
        ConfigError: if it is none of these, has no type, or an argument its class does not take.
    """
    if not isinstance(given, Mapping):
        return Wired(find(given, role), {})
    arguments = dict(given)
    if "type" not in arguments:
        raise ConfigError(f"{role}: a part needs a type, this one has only {sorted(arguments)}")
    part = find(arguments.pop("type"), role)
    known = parameters(part)
    for key in arguments:
        if key not in known and key not in UNDECLARED:
            raise ConfigError(f"{role}: {part.__name__} takes no argument {key!r}{close_names(key, known)}")
    return Wired(part, arguments)


def parameters(part: type) -> dict[str, inspect.Parameter]:
    """The arguments of a class and, as far as it hands on others, of its base classes."""
    known: dict[str, inspect.Parameter] = {}
    for cls in part.__mro__:
        if "__init__" not in vars(cls):
            continue
        own = list(inspect.signature(cls.__init__).parameters.values())[1:]
        for parameter in own:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                known.setdefault(parameter.name, parameter)
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return known


def merge(settings: Any, given: Any) -> Any:
    """Settings with what is given put over them, key by key; another ``type`` replaces the whole.

    A list of settings takes a single config for each of its entries, or a list of as many.
    """
    if isinstance(settings, list) and isinstance(given, list) and len(settings) == len(given):
        return [merge(*pair) for pair in zip(settings, given, strict=True)]
    if isinstance(settings, list) and isinstance(given, Mapping):
        return [merge(item, given) for item in settings]
    if not isinstance(settings, Mapping) or not isinstance(given, Mapping):
        return given
    if "type" in given and _name(given["type"]) != _name(settings.get("type")):
        return dict(given)
    return {**settings, **{key: merge(settings.get(key), value) for key, value in given.items()}}


def merge_part(settings: Mapping[str, Any], given: Any, role: str) -> Wired:
    """A part with the settings that its class takes, under what is given (a name, a class or a config)."""
    wanted = dict(given) if isinstance(given, Mapping) else {"type": given}
    chosen = split({"type": settings.get("type"), **wanted}, role)
    base = {key: value for key, value in settings.items() if chosen.takes(key)}
    return Wired(chosen.part, merge(base, chosen.arguments))


def check_count(name: str, value: Any) -> None:
    """Raise ConfigError for a number of things that is no whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigError(f"{name}={value!r}: expected a whole number from 1 on")


def check_classes(head: Wired, num_classes: int) -> None:
    """Raise ConfigError if a head is set to another number of classes than the model."""
    given = head.arguments.get("num_classes", num_classes)
    if given != num_classes:
        raise ConfigError(f"{head.name}: num_classes={given}, but the model is to have {num_classes}; leave it out")


def qualified(part: type) -> str:
    """``"mmdet.ResNet"``: the name under which every registry finds a class."""
    package = part.__module__.partition(".")[0]
    return f"{package}.{part.__name__}" if package in SCOPES else part.__name__


def plain(value: Any, *, scoped: bool = True) -> Any:
    """A config with names instead of classes, and containers of its own.

    Args:
        value: A config or what is in one.
        scoped: Names that every registry finds; False: those of densekit's own.
    """
    name = qualified if scoped else class_name
    return rebuilt(value, lambda item: name(item) if inspect.isclass(item) else item)


def ask(wired: Wired, source: Pyramid | None = None) -> Said:
    """What a part says with its arguments; one that says nothing is tried out. Either is done once.

    Args:
        wired: The part.
        source: What a neck is given; None for a backbone or a head.

    Raises:
        ConfigError: if the class refuses its arguments, or does not run.
    """
    key = (wired.part, _hashable(wired.arguments), source)
    if key not in _ASKED:
        module = built(wired)
        found = said(module, source)
        if found.gives is None and found.dims == 2:
            found = replace(found, gives=probe(module, source, wired.arguments.get("in_channels", 3)))
        _ASKED[key] = found
    return _ASKED[key]


def _hashable(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return tuple((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), tuple(_hashable(item) for item in value)
    return value if isinstance(value, type) else (type(value), repr(value))


def built(wired: Wired) -> nn.Module:
    """The module without memory for its parameters.

    Raises:
        ConfigError: if the class refuses its arguments.
    """
    # What a part builds inside itself is looked up in the scope of the moment, which may be left from the last run.
    packages = {base.__module__.partition(".")[0] for base in wired.part.__mro__}
    scope = next((name for name in ("mmdet", "mmseg", "densekit") if name in packages), None)
    try:
        with on_meta(), DefaultScope.overwrite_default_scope(scope):
            module = wired.part(**ConfigDict(plain(wired.arguments)))
    except ConfigError:
        raise
    except Exception as error:  # of a foreign part, anything
        raise ConfigError(f"{wired.name} refuses its arguments: {reason(error)}") from error
    module.eval()  # by itself: train() of some backbones returns nothing
    return module


def check_dimensions(parts: Sequence[tuple[str, Wired]]) -> int:
    """Raise ConfigError unless all parts are for images or all for volumes; returns which.

    Args:
        parts: (room, part), the backbone first; those whose ``spatial_dims`` is an argument follow the others.
    """
    room, first = parts[0]
    dims = first.dims or first.parameters["spatial_dims"].default
    for room, part in parts[1:]:
        if part.dims not in (None, dims):
            raise ConfigError(
                f"{first.name} -> {part.name}: the first works on {dims}D data, the second on {part.dims}D; "
                f"{dims}D {room} are {', '.join(_of_dims(room, dims))}, and "
                f"{part.dims}D backbones are {', '.join(_of_dims('backbones', part.dims))}"
            )
    return dims


def registered(room: str) -> dict[str, type]:
    """Our own parts of a room by name."""
    MODELS.import_all()
    return {k: v for k, v in MODELS.module_dict.items() if v.__module__.startswith(f"densekit.models.{room}.")}


def _of_dims(room: str, dims: int) -> list[str]:
    """Names of the parts of a room for images or for volumes."""
    own = [name for name, part in registered(room).items() if Wired(part, {}).dims in (None, dims)]
    if dims == 3:
        return sorted(own)
    return [*RECIPES, *SEGMENTORS] if room == "heads" else sorted([*own, *STOCK[room]])


def _name(kind: Any) -> str:
    return kind.__name__ if inspect.isclass(kind) else str(kind).rpartition(".")[2]
