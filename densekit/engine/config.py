"""Reading a config file, completing it with the defaults of its task, overriding its keys; writing one to start from.

A config is a flat list of keys. ``task`` says what is trained; every other key is a setting of that task or of every
training (:mod:`densekit.engine.settings`).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from inspect import ismodule
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from densekit.engine.settings import SECTIONS, Setting
from densekit.errors import ConfigError, close_names

SHIPPED = Path(__file__).parents[1] / "configs"
"""The recipes of the package; a config there is found by its name alone."""
Override = str | tuple[str, Any]
"""``"optimizer.lr=0.02"`` or ``"patch_size=(32,64,64)"``, the value a literal or else a string; or (key, value)."""
Adopt = Callable[[Config, Path, Sequence[Override]], Mapping[str, Any] | None]
"""Makes the keys of a task, ``task`` among them, of the config of another library; None: it is of none that is known.
Overrides of keys that only the other library has are applied by it."""


def find_config(name: str | Path) -> Path:
    """The file that a path, or the name of a shipped config, means.

    Raises:
        ConfigError: if there is none; close names are given.
    """
    path = Path(name)
    if path.is_file():
        return path
    if not path.name or path.is_dir():
        raise ConfigError(f"{name!s}: is no config file; `densekit config` lists the configs of the package")
    shipped = SHIPPED / path.with_suffix(".py").name
    if path.parent.name in ("", "configs") and path.suffix in ("", ".py") and shipped.is_file():
        return shipped
    stems = [file.stem for folder in (path.parent, SHIPPED) if folder.is_dir() for file in folder.glob("*.py")]
    raise ConfigError(
        f"{path}: no such config, neither a file nor one of the package{close_names(path.stem, stems)} "
        f"(`densekit config` lists those of the package)"
    )


def shipped_configs() -> list[str]:
    """Names of the configs of the package."""
    return sorted(file.stem for file in SHIPPED.glob("*.py"))


def load_config(
    name: str | Path,
    options: Sequence[Override],
    settings_of: Callable[[str, Path], Mapping[str, Setting]],
    adopt: Adopt,
) -> Config:
    """Read a config, complete it with defaults and apply ``key=value`` overrides.

    Args:
        name: A file, or the name of a config of the package.
        options: See :data:`Override`.
        settings_of: Gives the settings of the task that a config names; raises ConfigError if there is no such task.
        adopt: Is given a config that names no task.

    Raises:
        ConfigError: if the file is missing or cannot be read, has no task, or a key is not known (close names are
            given).
    """
    path = find_config(name)
    config = read_file(path)
    foreign: Mapping[str, Any] = {}
    if "task" not in config and (adopted := adopt(config, path, options)) is not None:
        foreign, config = config, Config(dict(adopted), filename=str(path))
    task = config.get("task")
    if task is None:
        raise ConfigError(
            f"{path}: does not say its task; add a line such as task = 'volume' (`densekit config` lists tasks), or "
            f"start from one of the package's configs: `densekit config dformer_synapse > mine.py`"
        )
    settings = settings_of(task, path)
    for key, setting in settings.items():
        given = dict.pop(config._cfg_dict, key, None) if key in config else copy.deepcopy(setting.default)
        config._cfg_dict[key] = _container(given)  # in the order in which settings are documented
    for option in options:
        if (root := read_option(option)[0].partition(".")[0]) in settings or root not in foreign:
            apply_option(config, option)
    known = ["task", *settings]
    for key in config:
        if key not in known:
            raise ConfigError(
                f"{path}: unknown key {key!r}{close_names(key, known)} (`densekit config {task}` prints all keys)"
            )
    if config.task != task:
        raise ConfigError(f"task={config.task}: a {task} config has other keys; take a config of that task")
    return config


def read_file(path: Path) -> Config:
    """The keys that a config file gives, those of its bases included.

    Raises:
        ConfigError: if it cannot be read; a base that is missing is named with its line.
    """
    check_bases(path)
    try:
        config = Config.fromfile(path)
        for module in config.pop("custom_imports", {}).get("imports", ()):  # MMEngine's key, which it passes over here
            import_module(module)
        for key, value in list(config.items()):  # what the file imports is looked up here
            if callable(value) or ismodule(value):  # a class, a function or a module, not a key
                config.pop(key)
    except Exception as error:  # a config is a program: it can fail in any way
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read: {type(error).__name__}: {reason} (--debug shows where)") from error
    return config


def bases(path: Path) -> list[tuple[Path, int]]:
    """Files that a config imports under ``with read_base()``, with the line of each import.

    Raises:
        ConfigError: if the config cannot be read or is no Python.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = path if line is None else f"{path}:{line}"
        raise ConfigError(f"{where}: is no Python: {error.args[0]}; correct the line") from error
    return list(_bases(tree, path))


def _bases(tree: ast.Module, path: Path) -> Iterator[tuple[Path, int]]:
    for statement in tree.body:
        call = statement.items[0].context_expr if isinstance(statement, ast.With) else None
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) == "read_base":
            yield from ((_base_file(s, path), s.lineno) for s in statement.body if isinstance(s, ast.ImportFrom))
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", None) == "_base_":
            # MMEngine's older way; a base of another package (mmdet::...) is looked for by MMEngine alone
            named = [node for node in ast.walk(statement.value) if isinstance(node, ast.Constant)]
            yield from ((path.parent / n.value, n.lineno) for n in named if "::" not in str(n.value))


def check_bases(path: Path) -> None:
    """Check that the bases of a config are there, and theirs.

    Raises:
        ConfigError: naming the file and the line of the import.
    """
    for base, line in bases(path):
        if not base.is_file():
            names = [file.stem for folder in (base.parent, SHIPPED / "_base_") for file in folder.glob("*.py")]
            raise ConfigError(
                f"{path}:{line}: there is no base {base.stem!r} at {base}{close_names(base.stem, names)}; those of the "
                f"package are imported from any folder as `from densekit.configs._base_.volume import *`"
            )
        if base.suffix == ".py":
            check_bases(base)


def _base_file(imported: ast.ImportFrom, path: Path) -> Path:
    parts = (imported.module or "").split(".")
    if imported.level:
        return path.resolve().parents[imported.level - 1].joinpath(*parts).with_suffix(".py")
    if parts[:2] == ["densekit", "configs"]:
        return SHIPPED.joinpath(*parts[2:]).with_suffix(".py")
    from importlib.util import find_spec

    package = find_spec(parts[0])
    if package is None or package.origin is None:
        raise ConfigError(f"{path}:{imported.lineno}: there is no package {parts[0]!r}; install it, or give a file")
    return Path(package.origin).parent.joinpath(*parts[1:]).with_suffix(".py")


def read_option(option: Override) -> tuple[str, Any, str]:
    """Key and value of an override, and how messages and ``config.txt`` call it.

    Raises:
        ConfigError: if it is text that is no ``key=value``.
    """
    if not isinstance(option, str):
        key, value = option
        return key, value, f"{key}={value!r}"
    key, sign, text = option.partition("=")
    if not sign or not key:
        raise ConfigError(f"--cfg-options {option!r}: expected key=value, e.g. optimizer.lr=0.02")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    return key, value, f"--cfg-options {option}"


def apply_option(config: Config, option: Override) -> None:
    """Apply one override to a key that exists, or to a part's argument."""
    key, value, said = read_option(option)
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
            raise ConfigError(f"{said}: there is no {where!r} in the config{close_names(name, known)}")
    value = _container(value)
    if isinstance(node, list):
        if not last.isdigit() or int(last) >= len(node):
            raise ConfigError(f"{said}: {'.'.join(parents)} is a list of {len(node)}, name its item by number from 0")
        node[int(last)] = value
    elif isinstance(node, Mapping):
        node[last] = value
    else:
        raise ConfigError(f"{said}: {'.'.join(parents)} is {node!r}, it has no {last!r}")


def _container(value: Any) -> Any:
    """A value as MMEngine keeps it: dicts readable by attribute, inside lists too."""
    if isinstance(value, Mapping):
        return ConfigDict({key: _container(item) for key, item in value.items()})
    return type(value)(map(_container, value)) if isinstance(value, (list, tuple)) else value


def write_config(task: str, settings: Mapping[str, Setting], values: Mapping[str, Any], title: str) -> str:
    """A config with every key of a task, as Python to start one's own from.

    Args:
        task: Its name.
        settings: Its settings; their sentences become comments.
        values: Values that are not the defaults.
        title: First line of its docstring.
    """
    from densekit.engine.origin import assignment

    lines = [f'"""{title}"""', "", f'task = "{task}"']
    section = None
    for key, setting in settings.items():
        if setting.section != section:
            section = setting.section
            lines += ["", f"# --- {SECTIONS[section]} ".ljust(100, "-")]
        lines += assignment(key, values.get(key, setting.default), setting.says)
    return "\n".join(lines) + "\n"
