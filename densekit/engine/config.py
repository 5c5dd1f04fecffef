"""Reading a config file, checking every key, and deriving from it the ordinary MMEngine Runner config.

A volume config is a flat list of keys, each documented once in ``configs/_base_/volume.py``. Whatever depends on the
data set or on other keys is derived here and nowhere else, after all overrides, so that no override can be dead.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict

from densekit.datasets.store import Store, open_store
from densekit.engine.values import check_values
from densekit.errors import ConfigError, DataError, close_names
from densekit.evaluation.score import check_settings
from densekit.ops.sliding_window import check_options
from densekit.registry import HOOKS, MODELS, OPTIMIZERS, PARAM_SCHEDULERS, check_config


def default_config_path() -> Path:
    """The file that documents every key of a volume config."""
    return Path(__file__).parents[2] / "configs" / "_base_" / "volume.py"


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
    if not default_config_path().is_file():
        raise ConfigError(
            f"{default_config_path()}: the list of all keys is missing; train and test from a clone of the project"
        )
    known = list(Config.fromfile(default_config_path()))
    if "test_pipeline" in config and "patch_size" not in config:
        raise ConfigError(
            f"{path}: is a detector's config; this version trains volumes only, and gives a detector's network: "
            f"densekit.models.assemble.model_config(config.model, num_classes), for MMDetection's own Runner"
        )
    for key in config:
        if key not in known:
            raise ConfigError(
                f"{path}: unknown key {key!r}{close_names(key, known)} (configs/_base_/volume.py lists all keys)"
            )
    missing = [key for key in known if key not in config]
    if missing:
        raise ConfigError(
            f"{path}: missing {missing[0]!r}: start it with `with read_base(): from ._base_.volume import *`"
        )


class VolumePlan:
    """A volume config together with the data set it is run on: everything that is derived, in one place.

    Args:
        config: What :func:`load_config` returned.
        data: Prepared folder that replaces ``data_root``.

    Raises:
        ConfigError: for a value that cannot be.
        DataError: if the data set is missing.
    """

    def __init__(self, config: Config, data: str | Path | None = None) -> None:
        self.config = config
        check_values(config)
        root = data or config.data_root
        if root is None:
            raise ConfigError(f"{config.filename}: no data_root; give the prepared folder with --data PATH")
        self.root = Path(root).resolve()
        self.store: Store = open_store(self.root)

    def check_training(self) -> None:
        """Check everything that a training would find out late, some of it at the first validation only.

        Raises:
            ConfigError: for values that cannot work together, or a part that cannot be built.
            DataError: if the data set has no training cases.
        """
        c = self.config
        if not self.cases(c.train_split):
            sizes = ", ".join(f"{name}: {len(ids)}" for name, ids in self.store.splits.items())
            raise DataError(
                f"{self.root}: split {c.train_split!r} has no cases (it has {sizes}); set train_split to one that has"
            )
        self.cases(c.val_split)
        check_settings(self.store.labels, self.store.scored, self.convention, 1.0)
        if c.iterations_per_epoch % c.accumulate:
            raise ConfigError(
                f"{c.filename}: iterations_per_epoch={c.iterations_per_epoch} is not a multiple of accumulate="
                f"{c.accumulate}, so gradients would be under way when an epoch's checkpoint is written; make it one"
            )
        self.inference()
        self._try_optimizer()
        for hook in c.custom_hooks:
            check_config(hook, HOOKS)

    def _try_optimizer(self) -> None:
        """Build optimizer and schedules for one parameter and step: they refuse now what they would refuse later."""
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        part, config = "optimizer", _plain(self.config.optimizer)
        try:
            check_config(config, OPTIMIZERS)
            optimizer = OPTIMIZERS.build({**config, "params": [parameter]})
            for number, given in enumerate(self.config.schedule):
                part, config = f"schedule.{number}", _plain(given)
                check_config(config, PARAM_SCHEDULERS)
                schedule = PARAM_SCHEDULERS.build({**self._with_end(config), "optimizer": optimizer})
                optimizer.step()  # it warns of a schedule that steps before its optimizer
                schedule.step()
        except (TypeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self.config.filename}: {part}={config} cannot be used: {reason}") from error

    def cases(self, split: str | None) -> list[str]:
        """Case ids of a split, or of several joined by ``+``, each once; none for None."""
        return [] if split is None else list(dict.fromkeys(self.store.ids(split)))

    @property
    def validates(self) -> bool:
        """Whether there is a validation split with cases in it."""
        return bool(self.cases(self.config.val_split))

    @property
    def patch_size(self) -> tuple[int, int, int]:
        return tuple(self.config.patch_size)

    @property
    def convention(self) -> str:
        return self.config.convention or self.store.convention

    def inference(self) -> dict[str, Any]:
        """Sliding-window settings: the training patch as window unless another is given, mirror axes by number.

        Test-time mirroring is named anatomically in a config, as in training; a left-right mirror swaps the paired
        labels.
        """
        from densekit.datasets.transforms.mirror import ANATOMICAL_AXES, AnatomicalMirror
        from densekit.models.assemblies.volume_segmentor import INFERENCE

        settings = {"window": list(self.patch_size), **_plain(self.config.inference)}
        for key in settings:
            if key not in INFERENCE:
                raise ConfigError(f"{self.config.filename}: inference has no {key!r}{close_names(key, INFERENCE)}")
        axes = settings.get("mirror_axes", ())
        if not isinstance(axes, (list, tuple)):
            raise ConfigError(
                f"{self.config.filename}: inference.mirror_axes={axes!r}, expected a list of axes, e.g. ('left-right',)"
            )
        pairs = [list(pair) for pair in self.store.mirror_pairs]
        AnatomicalMirror(axes, swap=pairs, labels=self.store.labels)  # refuses an unknown axis or an unpaired side
        settings["mirror_axes"] = [ANATOMICAL_AXES[axis] for axis in axes]
        if "left-right" in axes:
            settings["mirror_swaps"] = [[self.store.labels.index(name) for name in pair] for pair in pairs]
        try:
            check_options(**settings)
        except TypeError as error:
            raise ConfigError(f"{self.config.filename}: inference={settings} cannot be used: {error}") from error
        return settings

    def model(self) -> dict[str, Any]:
        """The network's config with class and channel counts of the data set filled in.

        Raises:
            ConfigError: if the config gives a count that is not the data set's.
        """
        model = _plain(self.config.model)
        classes, channels = len(self.store.labels), len(self.store.channels)
        head, backbone = model.get("head"), model.get("backbone")
        if not all(isinstance(part, dict) and "type" in part for part in (head, backbone)):
            raise ConfigError(f"{self.config.filename}: model needs a backbone and a head, each a dict with a type")
        counts = [(backbone, "in_channels", channels, "image channels"), (head, "num_classes", classes, "classes")]
        # A whole network as backbone (MonaiNetwork) ends in classes as well.
        if _takes(backbone["type"], "num_classes"):
            counts.append((backbone, "num_classes", classes, "classes"))
        for part, key, count, unit in counts:
            if part.setdefault(key, count) != count:
                raise ConfigError(
                    f"{self.config.filename}: model {key}={part[key]}, but {self.root} has {count} {unit} (the "
                    f"background counts as one); leave the key out, it is read from the data set"
                )
        model["inference"] = self.inference()
        return model

    def pipeline(self) -> list[dict[str, Any]]:
        """The training transforms, the named presets written out."""
        from densekit.datasets.transforms import nnunet_augmentation

        pipeline = self.config.train_pipeline
        if pipeline is None:
            return []
        if isinstance(pipeline, str) and pipeline != "nnunet":
            raise ConfigError(
                f"{self.config.filename}: train_pipeline={pipeline!r}{close_names(pipeline, ['nnunet'])}, expected "
                f"'nnunet', None or a list of transforms"
            )
        if pipeline != "nnunet":
            return _plain(pipeline)
        return nnunet_augmentation(
            self.patch_size,
            mirror_axes=self.config.mirror_axes,
            mirror_pairs=self.store.mirror_pairs if self.config.mirror_relabel else None,
            labels=self.store.labels,
        )

    def schedule(self) -> list[dict[str, Any]]:
        """Learning-rate schedules; one that states no end of its own runs to the end of the training."""
        return [self._with_end(_plain(given)) for given in self.config.schedule]

    def _with_end(self, given: dict[str, Any]) -> dict[str, Any]:
        s = {"by_epoch": True, **given}
        kind = s["type"] if isinstance(s["type"], str) else s["type"].__name__
        total = self.config.max_epochs * (1 if s["by_epoch"] else self.config.iterations_per_epoch)
        if kind.startswith("CosineAnnealing"):
            s.setdefault("T_max", total - s.get("begin", 0))
        if kind.startswith("Poly"):
            # MMEngine reaches eta_min in the last epoch, which would train nothing; nnU-Net's rule is
            # lr * (1 - epoch / max_epochs)^power with epochs from 0.
            s.setdefault("end", total + 1)
        elif not kind.startswith(("MultiStep", "Step", "Exponential")):
            s.setdefault("end", total)
        return s


def _takes(part: type | str, argument: str) -> bool:
    found = MODELS.get(part) if isinstance(part, str) else part
    return found is not None and argument in inspect.signature(found).parameters


def _plain(value: Any) -> Any:
    """Config containers as ordinary dicts, lists and tuples; classes and scalars as they are."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, tuple):
        return tuple(_plain(v) for v in value)
    return value
