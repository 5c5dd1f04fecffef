"""Checkpoints: weights, architecture, preprocessing and labels in one file that is read as data.

A checkpoint is a dictionary of tensors and plain Python values, read with ``torch.load(weights_only=True)``: opening
one never executes code that came with it. Its ``"densekit"`` entry says everything :mod:`densekit.inference` needs, so
that predicting needs no config file; the training entries (optimizer, schedulers) serve ``--resume`` alone.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from densekit import __version__
from densekit.config_tree import rebuilt, registered_name, types, written
from densekit.errors import CheckpointError, ConfigError, close_names
from densekit.io.atomic import atomic_path
from densekit.io.files import require_checkpoint, sha256
from densekit.registry import MODELS

FORMAT = 1
_NAME = re.compile(r"((densekit|mmdet|mmseg)\.)?[A-Za-z_][A-Za-z0-9_]*")
"""A registered name, with or without the scope of its registry. Nothing else may stand under ``type``: MMEngine takes
any other dotted name for a path, and imports it."""


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk, read.

    Attributes:
        path: Where it was read from.
        task: Name of the task it was trained for.
        model_config: Architecture: a plain dict whose ``type`` values are names of registries.
        preprocessing: Of a volume model ``Preprocessing.to_dict()`` of the data set it was trained on. Of a detector
            ``pipeline`` (the transforms between loading and packing), ``masks`` and the data set's ``fingerprint``.
        labels: Class names by label value; those of a detector have no background among them.
        inference: Sliding-window settings (window, overlap, batch, weights, mirror_axes); of a detector
            ``score_threshold``.
        state_dict: Weights (those of the moving average, if one was kept).
        meta: Plain facts: data set, epoch, iteration, seed, score, versions, scored classes.
        training: What ``--resume`` needs; empty in a checkpoint exported for prediction.
        stamp: Size, time and place of the file when it was read.
    """

    path: Path
    task: str
    model_config: dict[str, Any]
    preprocessing: dict[str, Any]
    labels: list[str]
    inference: dict[str, Any]
    state_dict: dict[str, torch.Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    stamp: tuple[int, ...] | None = None

    @cached_property
    def sha256(self) -> str:
        """Hash of the file.

        Raises:
            CheckpointError: if the file is not the one that was read any more.
        """
        found = sha256(self.path)
        if _stamp(self.path) != self.stamp:
            raise CheckpointError(f"{self.path}: was replaced since it was read; start again")
        return found

    @property
    def scope(self) -> str:
        """The registries in which MMEngine looks first for the parts of its model.

        Those of its type's package; a whole model of densekit whose parts are another's says so as ``default_scope``.
        """
        kind = self.model_config.get("type")
        package = str(kind).rpartition(".")[0] or "densekit"
        found = MODELS.get(kind) if package == "densekit" and isinstance(kind, str) and _NAME.fullmatch(kind) else None
        return getattr(found, "default_scope", package)

    def require_task(self, task: str) -> None:
        """Check that it is of a task.

        Raises:
            CheckpointError: if it is of another.
        """
        if self.task != task:
            raise CheckpointError(
                f"{self.path}: is a checkpoint of the task {self.task!r}, one of {task!r} is needed here; give one "
                f"trained for that"
            )

    def build_model(self) -> nn.Module:
        """Build the network, load its weights and put it in evaluation mode.

        Raises:
            CheckpointError: if the architecture names a part that is not registered, or the weights do not fit it.
        """
        foreign = self.scope != "densekit"  # its parts have names of several registries
        _check_names(self.model_config, self.path, registered=not foreign)
        if foreign:
            MODELS.import_all()
        try:
            with DefaultScope.overwrite_default_scope(self.scope):
                model = MODELS.build(ConfigDict(without_init(self.model_config)))
        except (ConfigError, TypeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{self.path}: its architecture cannot be built here: {error}; if another version of densekit made it, "
                f"use that one, or train again"
            ) from error
        load_weights(model, self.state_dict, self.path)
        return model.eval()


def write_checkpoint(
    path: Path,
    *,
    model_config: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    labels: list[str],
    inference: Mapping[str, Any],
    state_dict: Mapping[str, torch.Tensor],
    meta: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    task: str,
) -> None:
    """Write a checkpoint atomically: a reader sees the old file or the new one, never half of one.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    described = {
        "format": FORMAT,
        "version": __version__,
        "task": task,
        "model": written(model_config, registered_name),
        "preprocessing": dict(preprocessing),
        "labels": list(labels),
        "inference": written(inference),
        "meta": dict(meta),
    }
    # torch.save to a path turns a full disk into a RuntimeError without a reason; a buffer leaves the writing to us.
    buffer = io.BytesIO()
    torch.save({"densekit": described, "state_dict": dict(state_dict), "training": dict(training or {})}, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(
    path: str | Path | Checkpoint, *, map_location: str | torch.device = "cpu", mapped: bool = True
) -> Checkpoint:
    """Read a checkpoint as data; one that is read is given back.

    Its tensors are mapped from the file: what is not used (the optimizer's state) is not read.

    Raises:
        CheckpointError: if the file is missing, is no checkpoint, holds Python objects, or was not written by densekit.
    """
    if isinstance(path, Checkpoint):
        return path
    path = Path(path)
    stamp = _stamp(path)
    content = _read(path, map_location, mapped=mapped)
    described = content.get("densekit") if isinstance(content, dict) else None
    if not isinstance(described, dict):
        raise CheckpointError(
            f"{path}: these are weights without their preprocessing and labels (not written by `densekit train`); "
            f"start a training from them with --load-from, then predict with what it writes"
        )
    try:
        if described["format"] > FORMAT:
            raise CheckpointError(
                f"{path}: written by densekit {described['version']} in format {described['format']}, this is densekit "
                f"{__version__} which reads up to format {FORMAT}; update densekit"
            )
        return Checkpoint(
            path=path,
            model_config=described["model"],
            preprocessing=described["preprocessing"],
            labels=list(described["labels"]),
            inference=described["inference"],
            state_dict=content["state_dict"],
            meta=described["meta"],
            training=content["training"],
            task=described["task"],
            stamp=stamp,
        )
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks {error}, use a checkpoint written by `densekit train`") from error


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the weights alone: of a checkpoint of densekit or of another program, or of a safetensors file.

    Raises:
        CheckpointError: if the file is missing, cannot be read as data, or holds no weights.
    """
    path = Path(path)
    if path.suffix == ".safetensors" and path.is_file():
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: cannot be read as safetensors, is it cut short? ({error})") from error
    return weights_in(_read(path, "cpu"), path)


def weights_in(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The weights among what a file holds: alone, under ``state_dict`` as in MMEngine, or ``model`` as in much else.

    Raises:
        CheckpointError: if there are none.
    """
    if isinstance(content, dict):
        content = next((content[key] for key in ("state_dict", "model") if key in content), content)
    weights = content if isinstance(content, dict) else {}
    if not weights or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: holds no weights (a dictionary of tensors, alone or under 'state_dict')")
    return weights


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is replaced; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def _read(path: Path, map_location: str | torch.device, *, mapped: bool = True) -> Any:
    require_checkpoint(path)
    try:
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mapped and is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused: it is not plain tensors and values (loading it could run code that came with it); "
            f"use a checkpoint written by `densekit train`"
        ) from error
    except Exception as error:  # a damaged file fails in any way
        reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise CheckpointError(f"{path}: cannot be read as a checkpoint, is it cut short? ({reason})") from error


def load_weights(model: nn.Module, state_dict: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load weights into a model they must fit exactly.

    Raises:
        CheckpointError: naming how many parameters are missing, unexpected or of another shape, with one example of
            each.
    """
    own = model.state_dict()
    missing = [k for k in own if k not in state_dict]
    unexpected = [k for k in state_dict if k not in own]
    shapes = [
        f"{k}: {tuple(state_dict[k].shape)}, the model has {tuple(v.shape)}"
        for k, v in own.items()
        if k in state_dict and v.shape != state_dict[k].shape
    ]
    groups = {"missing": missing, "unknown to the model": unexpected, "of another shape": shapes}
    problems = [f"{len(found)} {what} (first: {found[0]})" for what, found in groups.items() if found]
    if problems:
        raise CheckpointError(
            f"{path}: checkpoint of another architecture than {type(model).__name__} as configured: parameters "
            f"{'; '.join(problems)}; use the config it was trained with"
        )
    model.load_state_dict(state_dict)


def without_init(config: Any) -> Any:
    """A model config without where its weights once started from: nothing is downloaded, they are in the checkpoint."""

    def change(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {key: child for key, child in value.items() if key != "init_cfg" or child is None}

    return rebuilt(config, change)


def _check_names(config: Any, path: Path, *, registered: bool) -> None:
    """Only names of registries (with ``registered``, of MODELS) may stand under ``type``: a dotted path would import
    whatever it names."""
    for kind in types(config):
        sound = isinstance(kind, str) and _NAME.fullmatch(kind) and (not registered or MODELS.get(kind) is not None)
        if kind is not None and not sound:
            known = close_names(str(kind), MODELS.module_dict)
            raise CheckpointError(f"{path}: names an unknown part type={kind!r}{known}")
