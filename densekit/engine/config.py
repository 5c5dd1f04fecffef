"""Reading a config file, overriding its keys, and checking that each is one that something reads.

A config is a flat list of keys, each documented once: in ``configs/_base_/volume.py`` for volumes, in
``configs/_base_/detection.py`` for detectors.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from densekit.engine.plan import Plan
from densekit.errors import ConfigError, close_names

TASKS = {"volume": "patch_size", "detection": "lr_batch"}
"""What is trained, and a key that only its configs have; its keys are documented in ``configs/_base_/<task>.py``."""


def default_config_path(task: str = "volume") -> Path:
    """The file that documents every key of the configs of a task, ``"volume"`` or ``"detection"``."""
    return Path(__file__).parents[1] / "configs" / "_base_" / f"{task}.py"


def make_plan(config: Config, data: str | Path | None = None) -> Plan:
    """What follows from a config and the data set it is run on.

    Args:
        config: What :func:`load_config` returned.
        data: Data set that replaces ``data_root``.

    Raises:
        ConfigError: for a value that cannot be.
        DataError: if the data set is missing or unsound.
    """
    if task_of(config) == "detection":
        from densekit.engine.detection import DetectionPlan

        return DetectionPlan(config, data)
    from densekit.engine.volume import VolumePlan

    return VolumePlan(config, data)


def task_of(config: Config) -> str:
    """What a config trains.

    Raises:
        ConfigError: if it does not say.
    """
    for task, key in TASKS.items():
        if key in config:
            return task
    raise ConfigError(
        f"{config.filename}: has neither patch_size (volumes) nor lr_batch (detectors): start it with "
        f"`with read_base(): from ._base_.volume import *` or `from ._base_.detection import *`"
    )


def load_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """Read a config file and apply ``key=value`` overrides.

    Args:
        path: A new-style MMEngine config.
        options: Overrides such as ``optimizer.lr=0.02`` or ``patch_size=(32,64,64)``; the value is a Python literal,
            else a string.

    Raises:
        ConfigError: if the file is missing or cannot be read, or a key is not known (close names are given).
    """
    path = Path(path)
    if not path.is_file():
        nearby = close_names(path.stem, [p.stem for p in path.parent.glob("*.py")]) if path.parent.is_dir() else ""
        raise ConfigError(f"{path}: no such config file{nearby}")
    try:
        config = Config.fromfile(path)
        for key, value in list(config.items()):  # what the file imports is looked up here
            if callable(value):  # a class or function, not a key
                config.pop(key)
    except Exception as error:  # a config is a program: it can fail in any way
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read: {type(error).__name__}: {reason} (--debug shows where)") from error
    for option in options:
        apply_option(config, option)
    check_keys(config, path)
    return config


def apply_option(config: Config, option: str) -> None:
    """Apply one ``key.sub=value`` override to a key that exists, or to a part's argument."""
    key, sign, text = option.partition("=")
    if not sign or not key:
        raise ConfigError(f"--cfg-options {option!r}: expected key=value, e.g. optimizer.lr=0.02")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    *parents, last = key.split(".")
    node: Any = config._cfg_dict
    for depth, name in enumerate(parents):
        where = ".".join(parents[: depth + 1])
        if isinstance(node, list) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, Mapping) and name in node:
            node = node[name]
        else:
            known = list(node) if isinstance(node, Mapping) else []
            raise ConfigError(f"--cfg-options {option}: there is no {where!r} in the config{close_names(name, known)}")
    value = ConfigDict(value) if isinstance(value, dict) else value
    if isinstance(node, list):
        if not last.isdigit() or int(last) >= len(node):
            raise ConfigError(
                f"--cfg-options {option}: {'.'.join(parents)} is a list of {len(node)}, name its item by number from 0"
            )
        node[int(last)] = value
    elif isinstance(node, Mapping):
        node[last] = value
    else:
        raise ConfigError(f"--cfg-options {option}: {'.'.join(parents)} is {node!r}, it has no {last!r}")


def check_keys(config: Config, path: Path) -> None:
    """Refuse a key that nothing reads."""
    task = task_of(config)
    defaults = default_config_path(task)
    if not defaults.is_file():
        raise ConfigError(f"{defaults}: the list of all keys is missing; train and test from a clone of the project")
    known = _keys(defaults)
    for key in config:
        if key not in known:
            raise ConfigError(
                f"{path}: unknown key {key!r}{close_names(key, known)} (configs/_base_/{task}.py lists all keys)"
            )
    missing = [key for key in known if key not in config]
    if missing:
        raise ConfigError(
            f"{path}: missing {missing[0]!r}: start it with `with read_base(): from ._base_.{task} import *`"
        )


def _keys(path: Path) -> list[str]:
    return [key for key, value in Config.fromfile(path).items() if not callable(value)]
