"""``densekit models NAME``: what a name that a config may use stands for, wherever it comes from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from densekit.config_tree import written
from densekit.errors import ConfigError, close_names

_LEVELS = {
    "all": "all levels before it, of any channels",
    "equal": "all levels before it, of equal channels",
    "last": "the coarsest level before it alone",
}


TIMM = "network of timm"


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
    found = _meanings(name)
    if not found:
        close = close_names(name.rpartition(".")[2], _all_names())
        raise ConfigError(f"there is no part {name!r}{close} (`densekit models` lists all)")
    print("\n\n".join("\n".join(lines) for lines in found))
    users = _configs_with(name.rpartition(".")[2])
    if users:
        print(f"\nused by the configs: {', '.join(users)}")
    return 0


def _registries() -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    """In words what each holds, and its entries by name: in groups, of which each is imported when it is asked for.

    What takes long to import comes late: a name is looked for until it is found.
    """
    import mmengine.registry as root

    from densekit.registry import MODELS, TRANSFORMS

    MODELS.import_from_location()
    yield [("part of densekit", _own(MODELS.module_dict))]
    import mmdet.registry as theirs

    import densekit.models.detection  # noqa: F401  registers our parts that stand on it

    for registry in (theirs.MODELS, theirs.TASK_UTILS):
        registry.import_from_location()
    yield [
        ("part of densekit", _own(MODELS.module_dict)),
        ("part of MMDetection", theirs.MODELS.module_dict),
        ("assigner, sampler or coder of MMDetection", theirs.TASK_UTILS.module_dict),
        ("layer of MMEngine, MMCV or PyTorch", root.MODELS.module_dict),
        ("optimizer", root.OPTIMIZERS.module_dict),
        ("schedule", root.PARAM_SCHEDULERS.module_dict),
    ]
    import timm

    yield [(TIMM, dict.fromkeys(timm.list_models()))]
    from monai import transforms
    from monai.networks import nets

    from densekit.models.backbones.monai_network import NETWORKS

    TRANSFORMS.import_all()
    theirs.TRANSFORMS.import_from_location()
    classes = {key: part for key, part in vars(transforms).items() if key[0].isupper() and inspect.isclass(part)}
    yield [
        ("transform of densekit", _own(TRANSFORMS.module_dict)),
        ("transform of MMDetection", theirs.TRANSFORMS.module_dict),
        ("network of MONAI, for MonaiNetwork(name=...)", {key: getattr(nets, key) for key in NETWORKS}),
        ("transform of MMCV", root.TRANSFORMS.module_dict),
        ("transform of MONAI", classes),
    ]
    import mmseg.registry as segmentation

    segmentation.MODELS.import_from_location()
    MODELS.import_all()
    yield [
        ("part of densekit", _own(MODELS.module_dict)),
        ("part of MMSegmentation", segmentation.MODELS.module_dict),
    ]


def _own(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in entries.items() if part.__module__.startswith("densekit.")}


@cache
def _all_names() -> dict[str, str]:
    from densekit.models.variants import VARIANTS

    names: dict[str, str] = {}
    for what, entries in reversed([registry for group in _registries() for registry in group]):
        names |= dict.fromkeys(entries, what)
    return names | dict.fromkeys(VARIANTS, "named size of densekit")


def _meanings(name: str) -> list[list[str]]:
    """The lines on each thing that has a name, of the first group of registries that has it."""
    from densekit.models.variants import VARIANTS

    if name in VARIANTS:
        variant = VARIANTS[name]
        size = f"; {variant.published:.2f} M parameters published" if variant.published else ""
        arguments = ", ".join(f"{key}={value!r}" for key, value in variant.arguments.items())
        lines = [f"{name}: named size of densekit", f"  {variant.part}({arguments})", f"  {variant.source}{size}"]
        return [lines + _given_by(name)]
    package, _, key = name.rpartition(".")
    for group in _registries():
        if group[0][0] == TIMM:
            found = [_of_timm(name)] if _is_of_timm(name) else []
        else:
            parts = [(what, entries[key]) for what, entries in group if key in entries]
            parts = [(what, part) for what, part in parts if part.__module__.startswith(package)]
            first = {part: what for what, part in reversed(parts)}  # one part may stand in several registries
            found = [_of_part(key, what, part) for what, part in parts if first[part] == what]
        if found:
            return found
    return []


def _is_of_timm(name: str) -> bool:
    import timm

    return timm.is_model(name)


def _of_timm(name: str) -> list[str]:
    from densekit.models.backbones import TimmBackbone

    lines = [f"{name}: network of timm, a backbone as TimmBackbone(name={name!r}, ...)"]
    return lines + _arguments(TimmBackbone) + _given_by(name)


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
    """The configs of the package in which a name stands; only those are loaded in whose text it does."""
    from densekit.engine.config import bases, find_config, read_file, shipped_configs

    def mentions(file: Path) -> bool:
        return bool(word.search(file.read_text(encoding="utf-8"))) or any(mentions(base) for base, _ in bases(file))

    word, stands = re.compile(rf"\b{re.escape(name)}\b"), re.compile(rf"""['"](?:\w+\.)?{re.escape(name)}['"]""")
    files = {config: find_config(config) for config in shipped_configs()}
    read = ((config, read_file(file)) for config, file in files.items() if mentions(file))
    return [config for config, keys in read if stands.search(str([written(value) for value in keys.values()]))]
