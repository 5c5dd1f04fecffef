"""Configs by file or name, with every key of their task: read for a run, or printed to start one's own from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densekit.tasks.base import all_tasks, find_task

if TYPE_CHECKING:
    from mmengine.config import Config

    from densekit.engine.config import Override


def load_config(name: str | Path, options: Sequence[Override] = ()) -> Config:
    """Read a config, by its file or by the name of one of the package, with every key of its task.

    Args:
        name: File or name.
        options: Overrides, see :data:`densekit.engine.config.Override`.

    Raises:
        ConfigError: if it cannot be read, has no known task, or an unknown key.
    """
    from densekit.engine import config

    def adopt(*given: Any) -> Mapping[str, Any] | None:
        return next(filter(None, (task.adopt(*given) for task in all_tasks().values())), None)

    return config.load_config(name, options, lambda task, path: find_task(task, path).settings, adopt)


def print_config(name: str | None, options: Sequence[Override] = ()) -> int:
    """Print a config with every key of its task, or the defaults of a task; without a name what there is.

    Raises:
        ConfigError: if there is no such config, or it cannot be read.
    """
    from densekit.config_tree import rebuilt
    from densekit.engine.config import shipped_configs, write_config

    tasks = all_tasks()
    if name is None:
        print(
            "\n".join(["tasks:", *(f"  {task}" for task in tasks), "configs:", *(f"  {c}" for c in shipped_configs())])
        )
        return 0
    if name in tasks:
        print(write_config(name, tasks[name].settings, {}, f"Every key of the task {name}, with its default."), end="")
        return 0
    config = load_config(name, options)
    # tuples stay: MMDetection refuses a list for some of them
    values = rebuilt(dict(config.items()), lambda value: value.__name__ if isinstance(value, type) else value)
    title = f"Written from {Path(config.filename).stem}: every key of the task {config.task}."
    print(write_config(config.task, tasks[config.task].settings, values, title), end="")
    return 0
