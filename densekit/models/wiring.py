"""What :func:`densekit.models.assemble.assemble` knows about parts: which class a name means, its arguments, what it
gives."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from densekit.errors import ConfigError, close_names
from densekit.models.on_meta import on_meta
from densekit.models.published import HEADS
from densekit.registry import MODELS

PROBES = (1024, 2048)
"""Sides of the images a part is tried on, on PyTorch's meta device, where they cost nothing."""
SCOPES = ("densekit", "mmdet", "mmseg")
"""Packages whose registries have a name; parts of others (mmcv, mmengine) stand in MMEngine's own registry."""
UNDECLARED = ("init_cfg", "rng")
"""Arguments that no signature names: of every module, and of samplers, which take ``rng`` out of their ``**kwargs``."""
STOCK = {"backbones": ["ResNet"], "necks": ["FPN", "PAFPN"]}
"""Parts of MMDetection that are named as fitting, besides our own."""


@dataclass(frozen=True)
class Pyramid:
    """What a part gives.

    Attributes:
        part: Its name.
        channels: Channels of each level, fine to coarse.
        strides: Pixels of the image per pixel of each level; in 3D one number per axis.
        paired: Whether each level is a pair of maps (:class:`densekit.models.necks.sepc.SEPC`).
    """

    part: str
    channels: tuple[int, ...]
    strides: tuple[Any, ...]
    paired: bool = False

    def common_channels(self, target: str) -> int:
        """The number of channels that all levels have, for a part ``target`` that takes no other.

        Raises:
            ConfigError: if they differ.
        """
        if len(set(self.channels)) > 1:
            raise ConfigError(
                f"{self.part} -> {target}: {self.part} gives levels of {self.channels} channels, {target} takes "
                "levels of "
                "equal channels; put an FPN between the two: neck=[dict(type='FPN'), ...]"
            )
        return self.channels[0]


def find_part(kind: Any, role: str) -> type[nn.Module]:
    """The class that is meant by a class or by a name; plain names are looked up in densekit, then in MMDetection.

    Raises:
        ConfigError: naming the close names.
    """
    if inspect.isclass(kind):
        return kind
    found = MODELS.get(kind) if isinstance(kind, str) else None
    if found is None and isinstance(kind, str):
        found = mmdet_models().get(kind)
    if found is None:
        known = [*MODELS.module_dict, *mmdet_models().module_dict]
        raise ConfigError(f"{role}: {kind!r} is no part of densekit or MMDetection{close_names(str(kind), known)}")
    return found


def mmdet_models():
    """MMDetection's registry, with all its parts."""
    from mmdet.registry import MODELS as registry

    registry.import_from_location()
    return registry


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
    """A part: its class and its arguments."""

    part: type[nn.Module]
    arguments: dict[str, Any]

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
        return Wired(self.part, {**{k: v for k, v in facts.items() if k in known}, **self.arguments})

    def config(self, *, scoped: bool = True) -> dict[str, Any]:
        """The config in plain values, the class by the name it is registered under."""
        return plain({"type": qualified(self.part) if scoped else self.name, **self.arguments})


def split(given: Any, role: str, find: Callable[[Any, str], type] = find_part) -> Wired:
    """A part that is given as a name, a class or a config.

    Args:
        given: The part.
        role: Its place in the model config.
        find: What looks up the class.

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


def check_classes(head: Wired, num_classes: int) -> None:
    """Raise ConfigError if a head is set to another number of classes than the model."""
    given = head.arguments.get("num_classes", num_classes)
    if given != num_classes:
        raise ConfigError(f"{head.name}: num_classes={given}, but the model is to have {num_classes}; leave it out")


def qualified(part: type) -> str:
    """``"mmdet.ResNet"``: the name under which every registry finds a class."""
    package = part.__module__.partition(".")[0]
    return f"{package}.{part.__name__}" if package in SCOPES else part.__name__


def plain(value: Any) -> Any:
    """A config with names instead of classes, and containers of its own."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    return qualified(value) if inspect.isclass(value) else value


def build_on_meta(wired: Wired) -> nn.Module:
    """The module without memory for its parameters, to ask it what it gives.

    Raises:
        ConfigError: if the class refuses its arguments.
    """
    # What an MMDetection part builds inside itself is looked up in the scope of the moment.
    scope = "mmdet" if wired.part.__module__.startswith("mmdet") else None
    try:
        with on_meta(), DefaultScope.overwrite_default_scope(scope):
            module = wired.part(**ConfigDict(plain(wired.arguments)))
            module.eval()  # by itself: train() of some backbones returns nothing
            return module
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{wired.name} refuses its arguments: {_reason(error)}") from error


@torch.no_grad()
def describe(module: nn.Module, source: Pyramid | None = None, in_channels: int = 3) -> Pyramid:
    """What a part gives: its own word, or else what comes out of it on the meta device.

    Args:
        module: Built on the meta device.
        source: What a neck is given; None for a backbone.
        in_channels: Channels of a backbone's image.

    Raises:
        ConfigError: if it does not run.
    """
    name = type(module).__name__
    channels, strides = (getattr(module, f"out_{what}", None) for what in ("channels", "strides"))
    if isinstance(channels, tuple) and isinstance(strides, tuple):
        return Pyramid(name, channels, strides)
    outputs = []
    for side in PROBES:
        if source is None:
            image = torch.empty(1, in_channels, side, side, device="meta")
        else:
            sizes = zip(source.channels, source.strides, strict=True)
            image = tuple(torch.empty(1, c, side // s, side // s, device="meta") for c, s in sizes)
        try:
            outputs.append(module(image))
        except Exception as error:
            raise ConfigError(f"{name} does not run on what it is given ({_said(source)}): {_reason(error)}") from error
    small, large = ([level if isinstance(level, Tensor) else level[0] for level in maps] for maps in outputs)
    return Pyramid(
        name,
        tuple(x.shape[1] for x in small),
        # From the difference of two sizes, which a border cut off does not change.
        tuple((PROBES[1] - PROBES[0]) // (b.shape[-1] - a.shape[-1]) for a, b in zip(small, large, strict=True)),
        paired=not isinstance(outputs[0][0], Tensor),
    )


def dimensions(part: type) -> int:
    """2 for images, 3 for volumes; parts of other packages are for images."""
    return getattr(part, "spatial_dims", 2)


def check_dimensions(parts: Sequence[tuple[str, type]]) -> int:
    """Raise ConfigError unless all parts are for images or all for volumes; returns which.

    Args:
        parts: (room, class), the backbone first.
    """
    first = parts[0][1]
    dims = dimensions(first)
    for room, part in parts[1:]:
        if dimensions(part) != dims:
            raise ConfigError(
                f"{first.__name__} -> {part.__name__}: the first works on {dims}D data, the second on "
                f"{dimensions(part)}D; {dims}D {room} are {', '.join(_registered(room, dims))}, and "
                f"{dimensions(part)}D backbones are "
                f"{', '.join(_registered('backbones', dimensions(part)))}"
            )
    return dims


def _registered(room: str, dims: int) -> list[str]:
    """Names of the parts of a room for images or for volumes."""
    MODELS.import_all()
    own = [n for n, p in MODELS.module_dict.items() if f".models.{room}." in p.__module__ and dimensions(p) == dims]
    if dims == 3:
        return sorted(own)
    return list(HEADS) if room == "heads" else sorted([*own, *STOCK[room]])


def _reason(error: Exception) -> str:
    """What an error of another package says in one line, or the line of code that it comes from."""
    said = " ".join(str(error).split())
    if said:
        return said
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in `{last.line}`"


def _said(source: Pyramid | None) -> str:
    return "an image" if source is None else f"{source.part}: channels {source.channels}, strides {source.strides}"


def _name(kind: Any) -> str:
    return kind.__name__ if inspect.isclass(kind) else str(kind).rpartition(".")[2]
