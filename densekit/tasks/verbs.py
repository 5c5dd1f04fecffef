"""What the command line and the Python API do, whatever the task: train, test, predict, prepare, check."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densekit.errors import CheckpointError, ConfigError, DataError, close_names, kind_of
from densekit.tasks.base import (
    BUILT_IN,
    Table,
    Task,
    all_tasks,
    find_task,
    given_options,
    own_options,
    task_of,
)
from densekit.tasks.config import load_config

if TYPE_CHECKING:
    from mmengine.config import Config

    from densekit.engine import train as engine
    from densekit.engine.config import Override
    from densekit.engine.plan import Plan
    from densekit.engine.preflight import DryRun
    from densekit.engine.runner import Runner
    from densekit.inference.predictor import Predictor
    from densekit.inference.run import RunResult
    from densekit.package import Checkpoint

logger = logging.getLogger("densekit")


# --- train ------------------------------------------------------------------------------------------------------------
def make_plan(config: Config, data: str | Path | None = None) -> Plan:
    """What follows from a config and the data set it is run on.

    Args:
        config: What :func:`load_config` returned.
        data: Data set that replaces ``data_root``.

    Raises:
        ConfigError: for a value that cannot be.
        DataError: if the data set is missing or unsound.
    """
    from densekit.engine.settings import check_values

    task = find_task(config.task, config.filename)
    check_values(config, task.settings, config.filename)
    return task.plan(config, data)


def train(
    config: str | Path,
    *,
    data: str | Path | None = None,
    options: Sequence[Override] = (),
    work_dir: str | Path | None = None,
    resume: bool = False,
    launcher: str = "none",
    **keys: Any,
) -> Runner:
    """Train a network.

    Args:
        config: Config file, or the name of a config of the package.
        data: Data set that replaces the config's ``data_root``.
        options: Overrides of the config.
        work_dir: Where everything is written; default ``runs/<config>/<time>``. With ``resume``, the folder of the run
            to continue, by default the newest of this config.
        resume: Continue from ``last.pth``; the result is the one of an uninterrupted run.
        launcher: ``"pytorch"`` under torchrun, else ``"none"``.
        **keys: Keys of the config that have an option of their own: ``load_from``, ``seed``, ``deterministic``,
            ``amp``, and those of the task (``fold``).

    Returns:
        The Runner after training; its ``work_dir`` holds best.pth, last.pth, config.txt (every value and where it was
        set), scalars.csv, curves.png, pictures/ and, where the task has one, report.html.

    Raises:
        ConfigError, DataError, CheckpointError, OutputError: for what the user can put right.
    """
    from densekit.engine import train as engine

    if launcher not in ("none", "pytorch"):
        raise ConfigError(f"--launcher={launcher}: expected none, or pytorch under torchrun")
    setup = _setup(config, data, options, keys)
    return engine.train(setup, work_dir=work_dir, resume=resume, launcher=launcher)


def dry_run(
    config: str | Path, *, data: str | Path | None = None, options: Sequence[Override] = (), **keys: Any
) -> DryRun:
    """Two training steps on the largest batch that the training can meet; nothing is written.

    Arguments as :func:`train`, without those of a run that is written or continued.

    Raises:
        ConfigError, DataError: for what the user can put right, a memory too small for one sample included.
    """
    from densekit.engine import train as engine

    return engine.try_out(_setup(config, data, options, keys))


def _setup(
    name: str | Path, data: str | Path | None, options: Sequence[Override], keys: Mapping[str, Any]
) -> engine.Setup:
    from densekit.engine.origin import DEFAULT, origins
    from densekit.engine.train import Setup

    config = load_config(name, options)
    task = find_task(config.task, config.filename)
    places = {**dict.fromkeys(config, DEFAULT), **origins(config.filename, options, task.foreign)}
    if data is not None:
        places["data_root"] = "--data"
    for key, value in keys.items():
        if value is not None and value is not False:
            if key not in task.settings:
                raise ConfigError(f"--{key.replace('_', '-')}: {config.filename} is of a task without it; leave it out")
            config[key] = str(value) if isinstance(value, Path) else value
            places[key] = f"--{key.replace('_', '-')}"
    carried = tuple(key for key, setting in task.settings.items() if setting.at_test)
    return Setup(config, places, plan=lambda c: make_plan(c, data), report=task.report, carried=carried)


# --- test, predict ----------------------------------------------------------------------------------------------------
def test(
    model: str | Path | Checkpoint | Predictor,
    *,
    config: str | Path | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    options: Sequence[Override] = (),
    progress: Callable[[str, int, int], None] | None = None,
    **more: Any,
) -> Table:
    """Score a network on a split: scans on their own grids, images by COCO's AP.

    Args:
        model: ``best.pth`` or ``last.pth``, which knows how it was trained, or the predictor of one.
        config: A config whose keys stand in for those of the checkpoint.
        data: Data set; default the one that the checkpoint, or the config, names.
        split: Split to score; default the task's own.
        out: Folder for the scores; default ``test_<checkpoint>_<split>`` beside it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...; a predictor stays where it is.
        options: Overrides of the keys that a test reads.
        progress: Called with (case, cases done, total).
        **more: Options of the task, and keys that a test reads.

    Returns:
        The table; what could not be scored is listed in it as failures, never left out.

    Raises:
        ConfigError, DataError, CheckpointError, OutputError: for what the user can put right.
    """
    if isinstance(model, (str, Path)):  # before torch is loaded
        if Path(model).suffix == ".py":
            raise ConfigError(f"{model}: is a config; give the checkpoint that is to be scored, last")
        from densekit.io.files import require_checkpoint

        require_checkpoint(Path(model))
    from densekit.engine.settings import check_values
    from densekit.package import load_checkpoint

    built = getattr(model, "checkpoint", None)  # of a predictor
    loaded = built or load_checkpoint(model)
    task = task_of(loaded)
    own = (loaded.meta.get("settings") or {}).get("data_root")
    elsewhere = data is not None and (own is None or Path(data).resolve() != Path(own).resolve())
    settings = _settings_of_test(task, loaded, config, options, elsewhere=elsewhere)
    given = {"data_root": None if data is None else str(data), **more}
    settings |= {key: value for key, value in given.items() if key in settings and value is not None}
    read = {key: setting for key, setting in task.settings.items() if setting.at_test}
    check_values(settings, read, str(config or loaded.path))
    where = settings.pop("data_root")
    if where is None:
        raise ConfigError(f"{loaded.path}: names no data set to score on; give it with --data=PATH")
    more = {key: value for key, value in more.items() if key not in read}
    more = own_options(task, "test", more, f"{loaded.path} {task.does}")
    predictor = model if built else task.predictor(loaded, device=device)
    out = None if out is None else Path(out)
    return task.score(predictor, where, split, out=out, progress=progress, **settings, **more)


def _settings_of_test(
    task: Task, checkpoint: Checkpoint, config: str | Path | None, options: Sequence[Override], *, elsewhere: bool
) -> dict[str, Any]:
    """What a test reads, of a config or of the checkpoint, with overrides.

    Args:
        task: The checkpoint's.
        checkpoint: What is scored.
        config: A config that stands in for what it carries.
        options: Overrides.
        elsewhere: It is scored on another data set: what was said of its own is left aside.
    """
    from mmengine.config import Config

    from densekit.engine.config import apply_option, read_option

    read = {key: setting for key, setting in task.settings.items() if setting.at_test}
    for option in options:
        key, _, said = read_option(option)
        if key.partition(".")[0] not in read:
            raise ConfigError(
                f"{said}: does nothing here, network and transforms are the checkpoint's; what can be set is "
                f"{', '.join(read)}"
            )
    if config is not None:
        given = load_config(config, options)
        if given.task != task.name:
            raise CheckpointError(
                f"{checkpoint.path}: {task.does}, but {config} is a config of the task {given.task!r}; score it with "
                f"the config it was trained with, or with none"
            )
        return {key: given[key] for key in read}
    carried = checkpoint.meta.get("settings") or {}
    kept = {k: carried[k] for k, setting in read.items() if k in carried and not (elsewhere and setting.of_data)}
    whole = Config({**{key: setting.default for key, setting in read.items()}, **kept})
    for option in options:
        apply_option(whole, option)
    return dict(whole.items())


def predictor(checkpoint: str | Path | Checkpoint, *, device: str = "auto", **more: Any) -> Predictor:
    """The network of a checkpoint, ready to predict one input after the other.

    Args:
        checkpoint: ``best.pth``, or one that is read.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        **more: Options of the task (``overlap``, ``batch``; ``threshold``).

    Raises:
        CheckpointError, ConfigError: if it cannot be used, for an option that cannot be.
    """
    from densekit.package import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    task = task_of(loaded)
    return task.predictor(loaded, device=device, **own_options(task, "predict", more, f"{loaded.path} {task.does}"))


def predict(
    checkpoint: str | Path | Checkpoint,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path = "predictions",
    *,
    device: str = "auto",
    overwrite: bool = False,
    **more: Any,
) -> RunResult:
    """Predict files, folders and globs into a folder: results, pictures, tables, a report, a ledger.

    One bad input costs that input; a run that was stopped goes on where it was.

    Args:
        checkpoint: ``best.pth``; it carries preprocessing, labels and settings.
        inputs: Volumes for a network of volumes, images and videos for a detector.
        out: Output folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        overwrite: Replace results that are there and are not the same.
        **more: Options of the task (``overlap``, ``batch``; ``threshold``).

    Raises:
        DataError, CheckpointError, ConfigError, OutputError: for what concerns the run as a whole.
    """
    from densekit.inference.done import earlier_run, remember
    from densekit.inference.inputs import left_out
    from densekit.io.files import require_checkpoint

    inputs = list(inputs) if isinstance(inputs, Iterable) and not isinstance(inputs, str) else [inputs]
    if not inputs:
        raise DataError("nothing to predict: no file, folder or glob is given")
    for item in inputs:
        if not isinstance(item, (str, Path)) or item == "":
            given = repr(item) if isinstance(item, str) else kind_of(item)
            raise DataError(
                f"{given} given, expected files, folders and globs; what is in memory is predicted one by one"
            )
    more = given_options(more)
    asked = {"device": str(device), **more}
    if isinstance(checkpoint, (str, Path)):  # before torch is loaded
        kinds = {name: task.inputs for name, task in all_tasks().items()}
        done = earlier_run(Path(checkpoint), inputs, Path(out), asked=asked, kinds=kinds)
        if done is not None:
            return done
        require_checkpoint(Path(checkpoint))
    from densekit.package import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    task = task_of(loaded)
    more = own_options(task, "predict", more, f"{loaded.path} {task.does}")
    check_inputs_fit(task, inputs, loaded.path)
    passed_over = left_out(inputs, Path(out), task.inputs)
    for line in passed_over:
        logger.warning(line)
    result = task.predict_many(loaded, inputs, Path(out), device=device, overwrite=overwrite, **more)
    for line in passed_over:  # the screen has moved on meanwhile
        logger.warning(line)
    remember(result, task=task.name, asked=asked)
    return result


def check_inputs_fit(task: Task, inputs: Sequence[str | Path], checkpoint: str | Path) -> None:
    """Check, before any work, that what is given is not for a checkpoint of another task.

    An input is taken by its suffix; a folder by what lies directly in it, and only if nothing of the right kind does.

    Raises:
        DataError: naming the first input of another kind.
    """
    from densekit.io import entries

    wanted = task.inputs
    others = [other.inputs for other in all_tasks().values() if other.inputs.name != wanted.name]
    for item in inputs:
        path = Path(item).expanduser()
        is_folder = os.path.isdir(path)  # noqa: PTH112  (never raises)
        files = [file for file in entries(path) if file.name[0] != "."] if is_folder else [path]
        if any(wanted.is_one(file) for file in files):
            continue
        for other in others:
            wrong = next((file for file in sorted(files) if other.is_one(file)), None)
            if wrong is not None:
                raise DataError(
                    f"{wrong}: {other.called(wrong)}, but {checkpoint} {task.does}; give files of the kind "
                    f"{wanted.name}, or another checkpoint"
                )


# --- prepare, check ---------------------------------------------------------------------------------------------------
def prepare(kind: str, raw: str | Path, out: str | Path | None = None, **more: Any) -> int:
    """Bring raw data into the form that training reads.

    Args:
        kind: What they are, of the kinds of any task.
        raw: Where they lie.
        out: Where to write.
        **more: Options of the task.

    Returns:
        The exit status.

    Raises:
        ConfigError: for a kind that is not known, or an option that is not for it.
        DataError, OutputError: for data that cannot be used, a folder that cannot be written.
    """
    kinds = {k: task for task in reversed(all_tasks().values()) for k in task.kinds}
    if kind not in kinds:
        raise ConfigError(f"kind {kind!r} is not one of {', '.join(kinds)}{close_names(kind, kinds)}")
    task = kinds[kind]
    given = own_options(task, "prepare", more, f"{raw} is given as {kind}")
    return task.prepare(kind, Path(raw), None if out is None else Path(out), **given)


def check(path: str | Path, *, task: str | None = None, json_path: str | Path | None = None, **more: Any) -> int:
    """Say whether a data set is sound.

    Args:
        path: Data set of any task.
        task: Its task; None: recognised, by the options given or by what lies there.
        json_path: Write the findings there as well.
        **more: Options of the task (``kind``, ``encoding``; ``html``, ``format``, ``classes``).

    Returns:
        The exit status: 0 sound, 2 not.

    Raises:
        ConfigError: for options of different tasks.
        DataError: if there is no data set.
    """
    wanted = {name: value for name, value in more.items() if value is not None}
    tasks = all_tasks()
    named = {t.name: {o.name for o in t.options.get("check", ())} for t in tasks.values()}
    owners = {name: [t for t in tasks.values() if name in named[t.name]] for name in wanted}
    if unknown := [name for name, of in owners.items() if not of]:
        raise ConfigError(f"{unknown[0]}: is no option of a check; leave it out")
    words = {name: " or ".join(sorted(repr(t.name) for t in of)) for name, of in owners.items()}
    able = [t for t in tasks.values() if all(t in of for of in owners.values())]
    if not able:
        said = ", ".join(f"--{name} is for data of the task {of}" for name, of in words.items())
        raise ConfigError(f"{said}; leave one of them out")
    asked = sorted(able, key=lambda t: t.name in BUILT_IN)  # those of the package take whatever is left
    fitting = (t for t in asked if len(asked) == 1 or t.recognizes(Path(path)))
    found = find_task(task, "--task") if task is not None else next(fitting, None)
    for name, of in owners.items():
        if found is not None and found not in of:
            raise ConfigError(f"--{name}: is for data of the task {words[name]}, not {found.name!r}; leave it out")
    if found is None:
        raise DataError(f"{path}: no data set of any task is recognised there; say which it is with --task")
    return found.check(Path(path), json_path=None if json_path is None else Path(json_path), **wanted)
