"""``densekit models``: the registered networks and parts, and what each takes."""

from __future__ import annotations

import inspect

from densekit.errors import ConfigError, close_names
from densekit.models.variants import VARIANTS
from densekit.registry import MODELS

ROOMS = ("assemblies", "backbones", "necks", "heads", "losses", "layers")


def print_models(name: str | None = None) -> int:
    """Print all registered parts by room and the named sizes, or one with its arguments and documentation.

    Raises:
        ConfigError: for a name that is not registered.
    """
    MODELS.import_all()
    if name is None:
        for room in ROOMS:
            parts = {
                k: v
                for k, v in sorted(MODELS.module_dict.items())
                if v.__module__.startswith(f"densekit.models.{room}")
            }
            if parts:
                print(f"{room}:")
                for key, part in parts.items():
                    print(f"  {key:<24} {(inspect.getdoc(part) or '').splitlines()[0]}")
        print("named sizes of backbones:")
        for key, variant in VARIANTS.items():
            size = f", {variant.published:.2f} M parameters published" if variant.published else ""
            print(f"  {key:<24} {variant.part}: {variant.source}{size}")
        return 0
    if name in VARIANTS:
        variant = VARIANTS[name]
        print(f"{name}: {variant.part}({', '.join(f'{k}={v!r}' for k, v in variant.arguments.items())})")
        print(f"\n{variant.source}")
        return 0
    part = MODELS.get(name)
    if part is None:
        close = close_names(name, [*MODELS.module_dict, *VARIANTS])
        raise ConfigError(f"there is no part {name!r}{close} (`densekit models` lists all)")
    print(f"{name}{inspect.signature(part)}\n\n{inspect.getdoc(part)}")
    return 0
