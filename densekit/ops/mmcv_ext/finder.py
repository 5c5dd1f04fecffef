"""A finder on ``sys.meta_path`` that supplies ``mmcv._ext`` and applies the adjustments of :mod:`.adjust` at import.

This file is loaded by ``import densekit``, so nothing heavy is imported at its top.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType

from densekit.ops.mmcv_ext.adjust import AFTER_IMPORT, BEFORE_IMPORT

VARIABLE = "DENSEKIT_OPS"
SOURCES = ("torchvision", "mmcv")
EXTENSION = "mmcv._ext"


def install() -> None:
    """Put the finder in front of ``sys.meta_path``, once; what was imported before it came is named in a warning."""
    if any(isinstance(finder, OperatorFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, OperatorFinder())
    early = [name for name in ("mmcv.ops", "mmdet.structures.mask") if name in sys.modules]
    if early and os.environ.get(VARIABLE) != "mmcv":
        import logging

        logging.getLogger("densekit").warning(
            "%s was imported before densekit and does not use its operators: import densekit first", " and ".join(early)
        )


def select_operators(source: str) -> None:
    """Choose who serves mmcv's compiled operators, in this process and in those it starts.

    Args:
        source: ``"torchvision"`` (the default: the stand-ins of this package) or ``"mmcv"`` (its own compiled extension
            and its own Python layer as shipped, faults included).

    Raises:
        ConfigError: for any other name, or if mmcv's operators have already been imported from the other source.
    """
    from densekit.errors import ConfigError

    before = selected_operators()
    os.environ[VARIABLE] = source
    try:
        after = selected_operators()
        if before != after and EXTENSION in sys.modules:
            raise ConfigError(f"mmcv's operators are already served by {before}: select {after} before importing them")
    except ConfigError:
        os.environ[VARIABLE] = before
        raise


def selected_operators() -> str:
    """Who serves mmcv's compiled operators, ``"torchvision"`` or ``"mmcv"``.

    Raises:
        ConfigError: if the environment variable ``DENSEKIT_OPS`` holds anything else.
    """
    source = os.environ.get(VARIABLE) or SOURCES[0]
    if source not in SOURCES:
        from densekit.errors import ConfigError, close_names

        raise ConfigError(f"{VARIABLE}={source}: expected {' or '.join(SOURCES)}{close_names(source, SOURCES)}")
    return source


class OperatorFinder:
    """Finds ``mmcv._ext`` here, and the modules that :mod:`.adjust` names where they are, with an adjusting loader."""

    def find_spec(self, name: str, path=None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        if name == EXTENSION:
            return self._find_extension(path, target)
        if name in BEFORE_IMPORT:
            BEFORE_IMPORT[name]()
        adjust = AFTER_IMPORT.get(name)
        if adjust is None or (name.startswith("mmcv.") and selected_operators() == "mmcv"):
            return None
        spec = self._find_elsewhere(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = AdjustingLoader(spec.loader, adjust)
        return spec

    def _find_extension(self, path, target: ModuleType | None) -> ModuleSpec:
        if selected_operators() == "torchvision":
            return ModuleSpec(EXTENSION, ExtensionLoader(), origin="densekit.ops.mmcv_ext.extension")
        spec = self._find_elsewhere(EXTENSION, path, target)
        if spec is None:
            from densekit.errors import ConfigError

            raise ConfigError(
                f"{VARIABLE}=mmcv asks for mmcv's compiled operators, but the mmcv that is installed has none: "
                f"unset {VARIABLE} (torchvision then serves them) or install an mmcv that was built with its operators"
            )
        return spec

    def _find_elsewhere(self, name: str, path, target: ModuleType | None) -> ModuleSpec | None:
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        return next((spec for spec in specs if spec is not None), None)


class ExtensionLoader:
    """Fills the module ``mmcv._ext``."""

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module is wanted."""

    def exec_module(self, module: ModuleType) -> None:
        """Import torch and torchvision, now that they are needed, and take over the operators."""
        from densekit.ops.mmcv_ext.extension import populate

        populate(module)


class AdjustingLoader:
    """Runs a module by its own loader and adjusts it before its importer sees it."""

    def __init__(self, loader, adjust: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.adjust = adjust

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then adjust it; ``inspect`` and the like meet the module's own loader afterwards."""
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.adjust(module)
