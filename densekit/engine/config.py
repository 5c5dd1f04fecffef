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

from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError

from densekit.datasets.store import Store, open_store
from densekit.errors import ConfigError, DataError, close_names
from densekit.registry import HOOKS, MODELS, OPTIMIZERS, PARAM_SCHEDULERS, check_config

OPTIONAL_KEYS = ("notes",)
AMP = (None, "bf16", "fp16")


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
    except (SyntaxError, ImportError, AttributeError, NameError, ConfigParsingError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
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
    if isinstance(node, list):
        raise ConfigError(f"--cfg-options {option}: {'.'.join(parents)} is a list, name its item by number first")
    if not isinstance(node, Mapping):
        raise ConfigError(f"--cfg-options {option}: {'.'.join(parents)} is {node!r}, it has no {last!r}")
    node[last] = ConfigDict(value) if isinstance(value, dict) else value


def check_keys(config: Config, path: Path) -> None:
    """Refuse a key that nothing reads."""
    known = [*Config.fromfile(default_config_path()), *OPTIONAL_KEYS]
    for key in config:
        if key not in known:
            raise ConfigError(
                f"{path}: unknown key {key!r}{close_names(key, known)} (configs/_base_/volume.py lists all keys)"
            )
    missing = [key for key in known if key not in config and key not in OPTIONAL_KEYS]
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
        ConfigError: for values that cannot work together.
        DataError: if the data set is missing or has no training cases.
    """

    def __init__(self, config: Config, data: str | Path | None = None) -> None:
        self.config = config
        root = data or config.data_root
        if root is None:
            raise ConfigError(f"{config.filename}: no data_root; give the prepared folder with --data PATH")
        self.root = Path(root).resolve()
        self.store: Store = open_store(self.root)
        self._check()

    def _check(self) -> None:
        c = self.config
        if c.model is None:
            raise ConfigError(f"{c.filename}: model is None; give dict(type=VolumeSegmentor, ...)")
        if c.amp not in AMP:
            raise ConfigError(f"{c.filename}: amp={c.amp!r}, expected one of {AMP}")
        for key in ("patch_size",):
            value = c[key]
            if len(value) != 3 or any(not isinstance(n, int) or n < 1 for n in value):
                raise ConfigError(f"{c.filename}: {key}={value!r}, expected three positive whole numbers (D, H, W)")
        for key in (
            "batch_size",
            "iterations_per_epoch",
            "max_epochs",
            "val_interval",
            "accumulate",
            "log_interval",
            "checkpoint_interval",
        ):
            if not isinstance(c[key], int) or c[key] < 1:
                raise ConfigError(f"{c.filename}: {key}={c[key]!r}, expected a positive whole number")
        if not self.cases(c.train_split):
            raise DataError(
                f"{self.root}: split {c.train_split!r} has no cases; the data set has {self._split_sizes()}"
            )
        check_config(c.optimizer, OPTIMIZERS)
        for schedule in c.schedule:
            check_config(schedule, PARAM_SCHEDULERS)
        for hook in c.custom_hooks:
            check_config(hook, HOOKS)

    def cases(self, split: str | None) -> list[str]:
        """Case ids of a split, or of several joined by ``+``; none for None."""
        return [] if split is None else self.store.ids(split)

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

        settings = {"window": list(self.patch_size), **_plain(self.config.inference)}
        axes = settings.get("mirror_axes", ())
        pairs = [list(pair) for pair in self.store.mirror_pairs]
        AnatomicalMirror(axes, swap=pairs, labels=self.store.labels)  # refuses an unknown axis or an unpaired side
        settings["mirror_axes"] = [ANATOMICAL_AXES[axis] for axis in axes]
        if "left-right" in axes:
            settings["mirror_swaps"] = [[self.store.labels.index(name) for name in pair] for pair in pairs]
        return settings

    def model(self) -> dict[str, Any]:
        """The network's config with class and channel counts of the data set filled in.

        Raises:
            ConfigError: if the config gives a count that is not the data set's.
        """
        model = _plain(self.config.model)
        classes, channels = len(self.store.labels), len(self.store.channels)
        head, backbone = model.get("head"), model.get("backbone")
        if not isinstance(head, dict) or not isinstance(backbone, dict):
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
        iterations = self.config.max_epochs * self.config.iterations_per_epoch
        schedules = []
        for given in self.config.schedule:
            s = {"by_epoch": True, **_plain(given)}
            total = self.config.max_epochs if s["by_epoch"] else iterations
            if s["type"] == "CosineAnnealingLR":
                s.setdefault("T_max", total - s.get("begin", 0))
            if s["type"] == "PolyLR":
                # MMEngine reaches eta_min in the last epoch, which would train nothing; nnU-Net's rule is
                # lr * (1 - epoch / max_epochs)^power with epochs from 0.
                s.setdefault("end", total + 1)
            elif s["type"] not in ("MultiStepLR", "StepLR", "ExponentialLR"):
                s.setdefault("end", total)
            schedules.append(s)
        return schedules


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
