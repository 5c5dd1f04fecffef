"""Kinds of jobs: what belongs to volumes, to detection, and what the verbs do with whichever it is."""

from densekit.tasks.base import Option, Table, Task, all_tasks, find_task, register, task_of
from densekit.tasks.config import load_config
from densekit.tasks.verbs import check, dry_run, make_plan, predict, predictor, prepare, test, train

__all__ = [
    "Option",
    "Table",
    "Task",
    "all_tasks",
    "check",
    "dry_run",
    "find_task",
    "load_config",
    "make_plan",
    "predict",
    "predictor",
    "prepare",
    "register",
    "task_of",
    "test",
    "train",
]
