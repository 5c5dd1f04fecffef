"""Registries of scope ``densekit``, children of MMEngine's: what is registered here, MMEngine's tools find, and back.

A part is an ordinary class; the decorator only adds its name. Modules named in ``locations`` are imported the first
time a registry is asked for a name, so importing this file costs little. A name that nobody registered is answered with
the close ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import mmengine.registry as root
from mmengine.registry import Registry as _Registry

from densekit.errors import ConfigError, close_names


def check_config(cfg: Any, registry: _Registry) -> None:
    """Check that a registry knows the ``type`` of a config dict and that the part it names takes every argument given.

    Raises:
        ConfigError: naming the close names, or the argument and the close arguments.
    """
    if not isinstance(cfg, Mapping) or cfg.get("type") is None:
        raise ConfigError(f"the config of a {registry.name} needs a type: expected dict(type=...), not {cfg!r}")
    part = cfg["type"]
    if isinstance(part, str):
        found = registry.get(part)
        if found is None:
            known = [name for r in (registry, registry.parent) if r is not None for name in r.module_dict]
            raise ConfigError(f"type={part!r} is not a registered {registry.name}{close_names(part, known)}")
        part = found
    if not callable(part):
        raise ConfigError(f"type={part!r} is not a {registry.name}: expected a class or the name of one")
    parameters = inspect.signature(part).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in cfg:
        if key not in parameters and key not in ("type", "_scope_", "init_cfg"):
            raise ConfigError(f"{part.__name__} takes no argument {key!r}{close_names(key, parameters)}")


class Registry(_Registry):
    """MMEngine's registry, with an answer for a mistyped name or argument.

    Args:
        *args: Those of MMEngine's registry.
        later: Modules that take long to import: one after the other, for a name that those before do not have.
        **kwargs: Those of MMEngine's registry.
    """

    def __init__(self, *args, later: Sequence[str] = (), **kwargs):
        super().__init__(*args, **kwargs)
        self._later = list(later)

    def import_all(self) -> None:
        """Import every module that registers parts here, also those that are left for later."""
        self.import_from_location()
        modules, self._later = self._later, []
        for module in modules:
            import_module(module)

    def get(self, key: str) -> Any:
        """The part registered as ``key``, or None."""
        found = self._module_dict.get(key) or super().get(key)  # what is here needs no import of the locations
        while found is None and self._later:
            module, *self._later = self._later
            import_module(module)
            found = super().get(key)
        return found

    def build(self, cfg: dict | Any, *args, **kwargs) -> Any:
        """Build the object a config dict describes.

        Raises:
            ConfigError: if ``cfg['type']`` is registered neither here nor in MMEngine's root registry, or if the part
                it names does not take one of the arguments.
        """
        if isinstance(cfg, dict):
            check_config(cfg, self)
        return super().build(cfg, *args, **kwargs)


def _child(name: str, parent: _Registry, *locations: str, later: Sequence[str] = ()) -> Registry:
    return Registry(name, parent=parent, scope="densekit", locations=list(locations), later=later)


LATE_MODELS = ["densekit.models.detection", "densekit.models.segmentation"]
MODELS = _child("model", root.MODELS, "densekit.models", later=LATE_MODELS)
DATASETS = _child("dataset", root.DATASETS, "densekit.datasets.volume.dataset")
DATA_SAMPLERS = _child("data sampler", root.DATA_SAMPLERS, "densekit.datasets.volume.sampler")
TRANSFORMS = _child(
    "transform",
    root.TRANSFORMS,
    "densekit.datasets.transforms",
    later=["densekit.datasets.transforms.albumentations_bridge", "densekit.datasets.segmentation.transforms"],
)
METRICS = _child("metric", root.METRICS, "densekit.evaluation")
HOOKS = _child("hook", root.HOOKS, "densekit.engine.hooks")
RUNNERS = _child("runner", root.RUNNERS, "densekit.engine")

# Parts that densekit takes from MMEngine as they are. Without a child of its scope MMEngine warns at every part it
# builds.
OPTIMIZERS = _child("optimizer", root.OPTIMIZERS)
OPTIM_WRAPPERS = _child("optim_wrapper", root.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child("optimizer wrapper constructor", root.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child("schedule", root.PARAM_SCHEDULERS)
LOOPS = _child("loop", root.LOOPS)
EVALUATOR = _child("evaluator", root.EVALUATOR)
LOG_PROCESSORS = _child("log processor", root.LOG_PROCESSORS)
VISUALIZERS = _child("visualizer", root.VISUALIZERS)
VISBACKENDS = _child("vis_backend", root.VISBACKENDS)
MODEL_WRAPPERS = _child("model wrapper", root.MODEL_WRAPPERS)
FUNCTIONS = _child("function", root.FUNCTIONS)
