"""``densekit models NAME``: what a name that a config may use stands for, wherever it comes from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from densekit.config_tree import written
from densekit.errors import ConfigError, close_names

_LEVELS = {
    "all": "all levels before it, of any channels",
    "equal": "all levels before it, of equal channels",
    "last": "the coarsest level before it alone",
}


def print_name(name: str) -> int:
    """Print what a name stands for: where it comes from, its arguments, what it takes and gives, configs that use it.

    Args:
        name: Of a part, a named size, a network of timm or MONAI, an optimizer, a schedule, a transform, also with its
            package (``"mmdet.RetinaHead"``); or a pattern, of which all such names are listed (``"convnext*"``).

    Raises:
        ConfigError: if nothing has that name.
    """
    if any(character in name for character in "*?["):
        listed = [f"{key:<44} {what}" for key, what in sorted(_all_names().items()) if fnmatchcase(key, name)]
        if not listed:
            raise ConfigError(f"no name fits {name!r} (`densekit models` lists the parts of densekit)")
        print("\n".join(listed))
        return 0
    found = list(_meanings(name))
    if not found:
        close = close_names(name.rpartition(".")[2], _all_names())
        raise ConfigError(f"there is no part {name!r}{close} (`densekit models` lists all)")
    print("\n\n".join("\n".join(lines) for lines in found))
    users = _configs_with(name.rpartition(".")[2])
    if users:
        print(f"\nused by the configs: {', '.join(users)}")
    return 0


@cache
def _registries() -> list[tuple[str, Mapping[str, Any]]]:
    """In words what each holds, and its entries by name; what densekit itself has comes first."""
    import mmdet.registry as theirs
    import mmengine.registry as root
    import mmseg.registry as segmentation
    from monai import transforms
    from monai.networks import nets

    from densekit.models.backbones.monai_network import NETWORKS
    from densekit.registry import MODELS, TRANSFORMS

    for own in (MODELS, TRANSFORMS):
        own.import_all()
    for registry in (theirs.MODELS, theirs.TASK_UTILS, theirs.TRANSFORMS, segmentation.MODELS):
        registry.import_from_location()
    classes = {key: part for key, part in vars(transforms).items() if key[0].isupper() and inspect.isclass(part)}
    return [
        ("part of densekit", _own(MODELS.module_dict)),
        ("transform of densekit", _own(TRANSFORMS.module_dict)),
        ("part of MMDetection", theirs.MODELS.module_dict),
        ("assigner, sampler or coder of MMDetection", theirs.TASK_UTILS.module_dict),
        ("transform of MMDetection", theirs.TRANSFORMS.module_dict),
        ("part of MMSegmentation", segmentation.MODELS.module_dict),
        ("network of MONAI, for MonaiNetwork(name=...)", {key: getattr(nets, key) for key in NETWORKS}),
        ("layer of MMEngine, MMCV or PyTorch", root.MODELS.module_dict),
        ("optimizer", root.OPTIMIZERS.module_dict),
        ("schedule", root.PARAM_SCHEDULERS.module_dict),
        ("transform of MMCV", root.TRANSFORMS.module_dict),
        ("transform of MONAI", classes),
    ]


def _own(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in entries.items() if part.__module__.startswith("densekit.")}


@cache
def _all_names() -> dict[str, str]:
    import timm

    from densekit.models.variants import VARIANTS

    names = dict.fromkeys(timm.list_models(), "network of timm")
    for what, entries in reversed(_registries()):
        names |= dict.fromkeys(entries, what)
    return names | dict.fromkeys(VARIANTS, "named size of densekit")


def _meanings(name: str) -> Iterator[list[str]]:
    """The lines on each thing that has a name."""
    import timm

    from densekit.models.variants import VARIANTS

    if name in VARIANTS:
        variant = VARIANTS[name]
        size = f"; {variant.published:.2f} M parameters published" if variant.published else ""
        arguments = ", ".join(f"{key}={value!r}" for key, value in variant.arguments.items())
        yield [f"{name}: named size of densekit", f"  {variant.part}({arguments})", f"  {variant.source}{size}"] + (
            _given_by(name)
        )
    package, _, key = name.rpartition(".")
    seen = []
    for what, entries in _registries():
        part = entries.get(key)
        if part is None or part in seen or not part.__module__.startswith(package):
            continue
        seen.append(part)
        yield _of_part(key, what, part)
    if name not in VARIANTS and timm.is_model(name):
        from densekit.models.backbones import TimmBackbone

        lines = [f"{name}: network of timm, a backbone as TimmBackbone(name={name!r}, ...)"]
        yield lines + _arguments(TimmBackbone) + _given_by(name)


def _of_part(key: str, what: str, part: Any) -> list[str]:
    says = (inspect.getdoc(part) or "").partition("\n\n")[0].split()
    lines = [f"{key}: {what}, {part.__module__}.{part.__qualname__}", f"  {' '.join(says)}", *_arguments(part)]
    room = next((room for room in ("backbones", "necks", "heads") if f".{room}" in part.__module__), None)
    if room == "backbones":
        return lines + _given_by(key)
    if room == "necks":
        from densekit.models.assemble.parts import Wired

        lines.append(f"  takes {_LEVELS[Wired(part, {}).levels]}")
    if getattr(part, "pairs", False) is True:
        lines.append("  its maps come in pairs, for classification and for localisation")
    return lines


def _arguments(part: Any) -> list[str]:
    """A line for each argument with its default."""
    from densekit.models.assemble.parts import parameters

    known = parameters(part) if inspect.isclass(part) else inspect.signature(part).parameters
    given = [f"    {p.name}" + ("" if p.default is p.empty else f" = {p.default!r}") for p in known.values()]
    return ["  arguments:", *given] if given else []


def _given_by(name: str) -> list[str]:
    """What a backbone takes and gives, with its own arguments."""
    from densekit.models.assemble.backbone import backbone_part
    from densekit.models.assemble.parts import ask

    try:
        said = ask(backbone_part(name, pretrained=False))
    except ConfigError as error:
        return [f"  what it gives depends on its arguments ({error})"]
    sizes = f"sizes {said.fixed_size} alone" if said.fixed_size else "any size"
    lines = [f"  takes {'images' if said.dims == 2 else 'volumes'}, {sizes}"]
    if said.gives is not None:
        maps = zip(said.gives.channels, said.gives.strides, strict=True)
        lines.append("  gives " + ", ".join(f"{channels} channels at stride {stride}" for channels, stride in maps))
    return lines


def _configs_with(name: str) -> list[str]:
    """The configs of the package in which a name stands."""
    from densekit.engine.config import find_config, read_file, shipped_configs

    stands = re.compile(rf"""['"](?:\w+\.)?{re.escape(name)}['"]""")
    read = ((config, read_file(find_config(config))) for config in shipped_configs())
    return [config for config, keys in read if stands.search(str([written(value) for value in keys.values()]))]
