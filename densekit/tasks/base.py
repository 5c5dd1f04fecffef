"""A task: one kind of job, and everything that belongs to it.

A config names its task, a checkpoint carries it, and nothing outside this room asks which it is. Importing a task is
cheap: its methods import what they need.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from densekit.errors import CheckpointError, ConfigError, close_names, few

if TYPE_CHECKING:
    from mmengine.config import Config

    from densekit.engine.config import Override
    from densekit.engine.plan import Plan
    from densekit.engine.run_report import RunReport
    from densekit.engine.settings import Setting
    from densekit.inference.inputs import Wanted
    from densekit.inference.predictor import Predictor
    from densekit.inference.run import RunResult
    from densekit.package import Checkpoint


@dataclass(frozen=True)
class Option:
    """An option of the command line that one task has.

    Attributes:
        flag: ``"--overlap"``.
        says: Its help.
        more: Arguments of ``argparse``'s ``add_argument``.
    """

    flag: str
    says: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The argument that it becomes."""
        return self.flag.lstrip("-").replace("-", "_")


FOLDS = (
    Option("--folds", "folds to make of the images", {"type": int}),
    Option("--fold", "the one that validates, from 0", {"type": int}),
    Option("--table", "CSV with a line per image: image,patient,age,...", {"metavar": "FILE"}),
)
"""Of tasks on images, at the verbs ``"train"`` and ``"test"``."""

FORMAT = Option("--format", "layout of images and labels, if it is not recognised by itself", {"metavar": "NAME"})
"""Of tasks on images, at the verb ``"check"``."""


def whole_number(text: str) -> int:
    """The type of an option whose values are whole numbers from 0 on."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r}, expected a whole number from 0 on")
    return int(text)


class Table(Protocol):
    """Scores of a checkpoint on a split."""

    failures: Mapping[str, str]
    """Cases that could not be scored, and why."""

    def render(self) -> str:
        """A table for the screen."""


class Task(ABC):
    """One kind of job.

    A subclass is registered with :func:`register`; everything it needs comes through these methods.
    """

    name: ClassVar[str]
    """What ``task = ...`` says in a config."""
    does: ClassVar[str]
    """What a checkpoint does, in words: ``"segments volumes"``."""
    options: ClassVar[Mapping[str, Sequence[Option]]] = {}
    """Its own options of the command line, by verb: ``"train"`` (each replaces the key of its name), ``"test"``,
    ``"predict"``, ``"check"``, ``"prepare"`` (given on as arguments)."""
    kinds: ClassVar[Sequence[str]] = ()
    """Kinds of raw data that :meth:`prepare` takes."""
    foreign: ClassVar[Mapping[str, str]] = {}
    """Keys of its configs that the config of another library gives, and the key that each is read from there."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Setting]:
        """The keys of its configs, see :func:`densekit.engine.settings.settings_of`."""

    @property
    @abstractmethod
    def inputs(self) -> Wanted:
        """The files it predicts."""

    def adopt(self, config: Config, path: Path, options: Sequence[Override]) -> Mapping[str, Any] | None:
        """The keys of a config that another library's config stands for, see :data:`densekit.engine.config.Adopt`."""
        del config, path, options
        return None

    @abstractmethod
    def plan(self, config: Config, data: str | Path | None) -> Plan:
        """A complete config, its values checked, with the data set it is run on."""

    def report(self, plan: Plan) -> RunReport:
        """What a run of such a plan tells."""
        from densekit.engine.run_report import RunReport

        return RunReport(plan)

    @abstractmethod
    def predictor(self, checkpoint: Checkpoint, *, device: str = "auto", **options: Any) -> Predictor:
        """The network of a checkpoint, ready to predict one input after the other."""

    @abstractmethod
    def predict_many(
        self,
        checkpoint: Checkpoint,
        inputs: Sequence[str | Path],
        out: Path,
        *,
        device: str = "auto",
        overwrite: bool = False,
        **options: Any,
    ) -> RunResult:
        """Predict files, folders and globs into a folder; one bad input costs that input."""

    @abstractmethod
    def score(self, predictor: Predictor, data: str | Path, split: str | None = None, **how: Any) -> Table:
        """Score a network on a split of a data set.

        Args:
            predictor: What is scored, of a checkpoint.
            data: The data set.
            split: Default: the task's own.
            **how: ``out``, the folder for what is written, None for the default; ``progress``, called with (case, cases
                done, total), or None; the other keys that are read at a test, of a config or as the checkpoint
                carries them, and the options of the verb ``"test"`` that are given.
        """

    @abstractmethod
    def recognizes(self, path: Path) -> bool:
        """Whether a path looks like data of this task; those of the package are asked last."""

    def prepare(self, kind: str, raw: Path, out: Path | None, **options: Any) -> int:
        """Bring raw data into the form that training reads, for a task that has :attr:`kinds`.

        Args:
            kind: One of them.
            raw: Where the data lie.
            out: Where to write; None if it was not said.
            **options: Those of the verb ``"prepare"`` that are given.

        Returns:
            The exit status.
        """
        raise NotImplementedError(f"the task {self.name!r} has kinds of raw data, but does not prepare them")

    @abstractmethod
    def check(self, path: Path, *, json_path: Path | None = None, **options: Any) -> int:
        """Say whether a data set is sound; returns the exit status."""


BUILT_IN = {name: f"densekit.tasks.{name}" for name in ("volume", "segmentation", "detection")}
"""Tasks of the package, by name, and the module that registers each."""
_TASKS: dict[str, Task] = {}


def register(task: type[Task]) -> type[Task]:
    """Make a task known (a decorator of its class)."""
    _TASKS[task.name] = task()
    return task


@cache
def _installed() -> None:
    """Import the tasks of the package, and those that other installed packages announce as ``densekit.tasks``."""
    for module in BUILT_IN.values():
        import_module(module)
    for point in entry_points(group="densekit.tasks"):
        try:
            point.load()
        except ImportError as error:
            raise ConfigError(
                f"the task {point.name!r} of an installed package cannot be imported: {error}; update or uninstall it"
            ) from error


def all_tasks() -> dict[str, Task]:
    """Every task by name, those of the package first."""
    _installed()
    own = {name: _TASKS[name] for name in BUILT_IN}
    return own | _TASKS


def find_task(name: Any, where: str | Path) -> Task:
    """The task of that name.

    Args:
        name: What a config or a checkpoint says.
        where: That file, for the message.

    Raises:
        ConfigError: if there is none.
    """
    tasks = all_tasks()
    if name not in tasks:
        raise ConfigError(
            f"{where}: task={name!r} is not known{close_names(str(name), tasks)}, expected one of {', '.join(tasks)}"
        )
    return tasks[name]


def task_of(checkpoint: Checkpoint) -> Task:
    """The task of a checkpoint.

    Raises:
        CheckpointError: if it has one that is not known here.
    """
    try:
        return find_task(checkpoint.task, checkpoint.path)
    except ConfigError as error:
        raise CheckpointError(
            f"{error}; install the package that brings it, or import the module that registers it"
        ) from error


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given: neither None nor False."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def own_options(task: Task, verb: str, given: Mapping[str, Any], here: str) -> dict[str, Any]:
    """The options that were given, if they are the task's.

    Raises:
        ConfigError: for one of another task, or of none; it says what is ``here``.
    """
    takers = {o.name: (o.flag, t) for t in reversed(all_tasks().values()) for o in t.options.get(verb, ())}
    own = [option.name for option in task.options.get(verb, ())]
    wanted = given_options(given)
    for name in wanted:
        if name not in own:
            flag, other = takers.get(name, (name, None))
            if other is None:
                instead = close_names(name, own) or "; leave it out" + f", known are {', '.join(own)}" * bool(own)
                raise ConfigError(f"{flag}: is not known where {here}{instead}")
            what = few(other.kinds) if verb == "prepare" else f"a checkpoint that {other.does}"
            raise ConfigError(f"{flag}: is for {what}, and {here}; leave it out")
    for option in task.options.get(verb, ()):
        if option.more.get("action") == "store_true" and not isinstance(given.get(option.name, False), bool):
            raise ConfigError(f"{option.flag}={given[option.name]!r}: expected True or False")
    return wanted
