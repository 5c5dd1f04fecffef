"""MMDetection's own configs: what a densekit config would say in their place.

Network, transforms, optimizer, schedule and averaging are taken as they are written; loading, evaluation, logging and
checkpoints are densekit's own. Whatever else a config asks for and does not get is told in one list.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from densekit.config_tree import plain
from densekit.datasets.shared.image_loading import between
from densekit.engine.config import Override, apply_option, read_option
from densekit.errors import ConfigError

logger = logging.getLogger("densekit")

READ_FROM = {
    **dict.fromkeys(("optimizer", "paramwise", "clip_grad", "accumulate", "amp"), "optim_wrapper"),
    **dict.fromkeys(("batch_size", "num_workers", "repeat", "train_pipeline"), "train_dataloader"),
    **dict.fromkeys(("max_epochs", "val_interval"), "train_cfg"),
    **dict.fromkeys(("ema", "final_pipeline", "final_epochs"), "custom_hooks"),
    "test_pipeline": "test_dataloader",
    "schedule": "param_scheduler",
    "lr_batch": "auto_scale_lr",
    "log_interval": "default_hooks",
    "seed": "randomness",
}
"""Keys of a detection config, and the key of MMDetection's that each is read from where that has another name."""

OWN_HOOKS = {
    "SyncNormHook",
    "SyncBuffersHook",
    "NumClassCheckHook",
    "CheckInvalidLossHook",
    "DetVisualizationHook",
    "EarlyStoppingHook",
}
"""Hooks whose work densekit does in its own way, or need not do."""
_GPUS = 8
"""On which MMDetection's configs are trained, if their names say nothing else."""
_TIMES = re.compile(r"(?:^|[_-])(\d+)xb(\d+)(?=[_-]|$)")
"""``8xb32`` in the name of a config: GPUs and images on each."""
_COUNTS = ("begin", "end", "T_max", "step_size")


def name_of(kind: Any) -> str:
    """Bare name of what stands under ``type``: ``"Resize"`` for ``"mmdet.Resize"`` and for the class."""
    return getattr(kind, "__name__", str(kind)).rpartition(".")[2]


def is_openmmlab(config: Mapping[str, Any]) -> bool:
    """Whether a config without a task is one of MMEngine's Runner, or of MMDetection 2."""
    model = config.get("model")
    marks = ("optim_wrapper", "train_dataloader", "test_dataloader", "train_cfg", "lr_config", "data")
    return isinstance(model, Mapping) and "type" in model and any(key in config for key in marks)


def adopt(config: Config, path: Path, options: Sequence[Override], own: Collection[str]) -> dict[str, Any] | None:
    """The keys of a detection config that a config of MMDetection stands for; None if it is of no such library.

    Args:
        config: As MMEngine reads it.
        path: Its file.
        options: Overrides; those of keys that only MMDetection has are applied, ``max_epochs`` fits the schedule.
        own: The keys of a detection config.

    Raises:
        ConfigError: see :func:`keys_of`.
    """
    if not is_openmmlab(config):
        return None
    epochs = None
    for option in options:
        key, value, _ = read_option(option)
        if key == "max_epochs" and type(value) is int and value > 0:
            epochs = value
        elif (root := key.partition(".")[0]) in config and root not in own:
            apply_option(config, option)
    return keys_of(config, path, epochs)


def keys_of(config: Mapping[str, Any], path: Path, epochs: int | None = None) -> dict[str, Any]:
    """The keys of a detection config that a config of MMDetection stands for.

    Args:
        config: As MMEngine reads it.
        path: Its file.
        epochs: Epochs that are trained instead of its own; its schedule is stretched or shortened to them.

    Raises:
        ConfigError: if it trains what densekit does not, or in a way that cannot be carried over.
    """
    return _Reading(dict(config.items()), path, epochs).keys()


@dataclass
class _Reading:
    """One config under way."""

    raw: dict[str, Any]
    path: Path
    epochs: int | None
    left: dict[str, str] = field(default_factory=dict)  # what is not taken, and why

    def keys(self) -> dict[str, Any]:
        self.check()
        loader = plain(self.raw.get("train_dataloader") or {})
        dataset, repeat = self.dataset(loader.get("dataset") or {})
        keys = {
            "task": "detection",
            "model": self.raw["model"],
            "repeat": repeat,
            "num_workers": loader.get("num_workers", 2),
            "batch_size": loader.get("batch_size", 2),
            "train_pipeline": self.pipeline(dataset.get("pipeline"), "train_pipeline"),
            "test_pipeline": self.pipeline(self.test_pipeline(), "test_pipeline"),
            **self.data(dataset),
            **self.optimisation(loader.get("batch_size", 2)),
        }
        keys |= self.hooks(keys["train_pipeline"], keys["max_epochs"]) | self.run()
        if self.left:
            lines = "".join(f"\n  {what}: {why}" for what, why in self.left.items())
            logger.warning("not taken from %s:%s", self.path.name, lines)
        return keys

    def refuse(self, what: str, remedy: str) -> ConfigError:
        return ConfigError(f"{self.path}: {what}; {remedy}")

    def check(self) -> None:
        """Check that it is of a detector that is trained on images with boxes."""
        from mmdet.models.detectors import BaseDetector, SemiBaseDetector
        from mmdet.registry import MODELS

        if "optim_wrapper" not in self.raw and ("lr_config" in self.raw or "data" in self.raw):
            raise self.refuse(
                "is written for MMDetection 2 (lr_config, data)", "give the config of that name in MMDetection 3"
            )
        MODELS.import_from_location()
        kind = self.raw["model"]["type"]
        found = MODELS.get(kind) if isinstance(kind, str) else kind
        if found is None or not issubclass(found, BaseDetector):
            raise self.refuse(
                f"model.type={name_of(kind)} is no detector of MMDetection 3", "give the config of a detector"
            )
        if issubclass(found, SemiBaseDetector):
            raise self.refuse(
                f"{name_of(kind)} learns from images without labels as well, which is not trained here",
                "take the config of its detector alone",
            )
        if "language_model" in self.raw["model"]:
            raise self.refuse(
                f"{name_of(kind)} needs a text beside each image, which is not trained here", "take another detector"
            )

    # --- data ---------------------------------------------------------------------------------------------------------
    def dataset(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """The innermost data set with the transforms of all around it, and how often it is gone through."""
        repeat, outer, kind = 1, [], name_of(given.get("type"))
        while "dataset" in given or "datasets" in given:
            outer = [*given.get("pipeline", ()), *outer]
            if kind == "RepeatDataset":
                repeat *= given["times"]
            elif kind != "MultiImageMixDataset":
                self.left[f"train_dataloader.dataset.type={kind}"] = "the images are those of --data, each once"
            given = given["dataset"] if "dataset" in given else given["datasets"][0]
            kind = name_of(given.get("type"))
        if (given.get("filter_cfg") or {}).get("filter_empty_gt"):
            self.left["filter_cfg.filter_empty_gt"] = "images without objects are trained on, they teach what is none"
        return {**given, "pipeline": [*given.get("pipeline", ()), *outer]}, repeat

    def test_pipeline(self) -> Any:
        for key in ("test_dataloader", "val_dataloader"):
            dataset = (self.raw.get(key) or {}).get("dataset") or {}
            while "dataset" in dataset or "datasets" in dataset:
                dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
            if dataset.get("pipeline"):
                return dataset["pipeline"]
        return self.raw.get("test_pipeline")

    def pipeline(self, given: Any, key: str) -> list[dict[str, Any]]:
        if not given:
            raise self.refuse(f"it has no {key}", f"give one: {key} = [...] in a config that has this one as its base")
        given = plain(list(given))
        for transform in given:
            kind = name_of(transform.get("type"))
            if kind == "LoadProposals" or (kind == "LoadAnnotations" and transform.get("with_seg")):
                needed = "proposals" if kind == "LoadProposals" else "a map of all pixels' classes (with_seg)"
                raise self.refuse(
                    f"{key}: {kind} reads {needed}, which the data have not", "take a config that trains on objects"
                )
        return between(given)

    def data(self, dataset: Mapping[str, Any]) -> dict[str, Any]:
        """Where the images are, and the classes of the user's own."""
        classes = (dataset.get("metainfo") or {}).get("classes")
        root = dataset.get("data_root") or self.raw.get("data_root")
        return ({"classes": list(classes)} if classes else {}) | ({"data_root": root} if root else {})

    # --- optimisation -------------------------------------------------------------------------------------------------
    def optimisation(self, batch_size: int) -> dict[str, Any]:
        """Optimizer, learning rate by batch, epochs and schedule."""
        wrapper = plain(self.raw.get("optim_wrapper") or {})
        if "optimizer" not in wrapper:
            raise self.refuse("it has no optim_wrapper.optimizer", "give one, e.g. dict(type='AdamW', lr=1e-4)")
        paramwise, clip = wrapper.get("paramwise_cfg"), wrapper.get("clip_grad") or {}
        if "constructor" in wrapper:
            self.left[f"optim_wrapper.constructor={name_of(wrapper['constructor'])}"] = (
                "all layers learn at rates of MMEngine's own constructor"
            )
            paramwise = None
        if clip and ("max_norm" not in clip or clip.get("norm_type", 2) != 2):
            self.left[f"optim_wrapper.clip_grad={clip}"] = "gradients are clipped by their L2 norm only"
            clip = {}
        return {
            "optimizer": wrapper["optimizer"],
            "paramwise": paramwise,
            "clip_grad": clip.get("max_norm"),
            "accumulate": wrapper.get("accumulative_counts", 1),
            "amp": self.precision(wrapper),
            "lr_batch": self.images_of_lr(batch_size),
            **self.schedule(),
        }

    def precision(self, wrapper: Mapping[str, Any]) -> str | None:
        if name_of(wrapper.get("type")) != "AmpOptimWrapper":
            return None
        if "bfloat16" in str(wrapper.get("dtype")):
            return "bf16"
        if torch.cuda.is_available():
            return "fp16"
        self.left["optim_wrapper.type=AmpOptimWrapper"] = "fp16 needs a GPU"
        return None

    def images_of_lr(self, batch_size: int) -> int:
        """Images of a step that the learning rate is for.

        The name says more than ``auto_scale_lr``, which the RTMDet configs inherit with another number.
        """
        said = (self.raw.get("auto_scale_lr") or {}).get("base_batch_size")
        times = _TIMES.search(self.path.stem)
        named = int(times[1]) * int(times[2]) if times and int(times[2]) == batch_size else None
        if named and said and named != said:
            self.left[f"auto_scale_lr.base_batch_size={said}"] = f"its name says {times[0].strip('_-')}, so {named}"
        return named or said or _GPUS * batch_size

    def schedule(self) -> dict[str, Any]:
        """Epochs and learning-rate schedules."""
        loop, given = self.raw.get("train_cfg") or {}, plain(self.raw.get("param_scheduler") or [])
        given = [given] if isinstance(given, Mapping) else given
        if "max_iters" in loop and self.epochs is None:
            raise self.refuse(
                f"its loop counts {loop['max_iters']} iterations, densekit counts epochs",
                "say how many with --cfg-options max_epochs=12; the schedule is fitted to them",
            )
        before = loop.get("max_iters") or loop.get("max_epochs")
        if before is None:
            raise self.refuse("it has no train_cfg.max_epochs", "give it: --cfg-options max_epochs=12")
        if "dynamic_intervals" in loop:
            self.left["train_cfg.dynamic_intervals"] = "validated every val_interval epochs up to the end"
        epochs = self.epochs or before
        schedule = [self.fitted(one, epochs / before, by_iteration="max_iters" in loop) for one in given]
        if epochs != before:
            logger.info("schedule of %s: fitted from %d to %d epochs", self.path.name, before, epochs)
        interval = 1 if "max_iters" in loop else loop.get("val_interval", 1)
        return {"max_epochs": epochs, "schedule": schedule, "val_interval": min(interval, epochs)}

    def fitted(self, schedule: dict[str, Any], ratio: float, *, by_iteration: bool) -> dict[str, Any]:
        """A schedule for so many times as many epochs; a warm-up of some iterations stays as it is."""
        from mmdet.registry import PARAM_SCHEDULERS

        PARAM_SCHEDULERS.import_from_location()
        if schedule.get("type") in PARAM_SCHEDULERS.module_dict:
            schedule = {**schedule, "type": f"mmdet.{schedule['type']}"}
        warmup = "Linear" in name_of(schedule["type"]) and not schedule.get("by_epoch", True)
        if warmup or ratio == 1 or by_iteration == schedule.get("by_epoch", True):
            return schedule
        scaled = {key: schedule[key] * ratio for key in _COUNTS if schedule.get(key) is not None}
        if "milestones" in schedule:
            scaled["milestones"] = [milestone * ratio for milestone in schedule["milestones"]]
        return {**schedule, **scaled, "by_epoch": True, "convert_to_iter_based": True}

    # --- hooks --------------------------------------------------------------------------------------------------------
    def hooks(self, train: list[dict[str, Any]], epochs: int) -> dict[str, Any]:
        """What hooks do that densekit has keys for, and the others as they are."""
        from mmdet.registry import HOOKS

        HOOKS.import_from_location()
        keys: dict[str, Any] = {"custom_hooks": []}
        before = (self.raw.get("train_cfg") or {}).get("max_epochs", epochs)
        for hook in plain(self.raw.get("custom_hooks") or []):
            kind = name_of(hook["type"])
            if kind == "EMAHook":
                keys["ema"] = hook.get("momentum", 0.0002)
            elif kind == "PipelineSwitchHook":
                last = max(1, round((before - hook["switch_epoch"]) * epochs / before))
                switched = self.pipeline(hook["switch_pipeline"], "switch_pipeline")
                keys |= {"final_pipeline": switched, "final_epochs": last}
            elif kind == "YOLOXModeSwitchHook":
                skipped = hook.get("skip_type_keys", ("Mosaic", "RandomAffine", "MixUp"))
                # the epoch before the last ones is among them, in MMDetection as in YOLOX's own code
                last = max(1, round((hook.get("num_last_epochs", 15) + 1) * epochs / before))
                plainer = [transform for transform in train if name_of(transform["type"]) not in skipped]
                keys |= {"final_pipeline": plainer, "final_epochs": last}
                l1 = {"type": "densekit.FinalEpochsHook", "epochs": last, "attribute": "bbox_head.use_l1"}
                keys["custom_hooks"].append(l1)
            elif kind == "MeanTeacherHook":
                self.left[f"custom_hooks: {kind}"] = "there is no teacher"
            elif kind not in OWN_HOOKS:
                scope = "mmdet." if isinstance(hook["type"], str) and kind in HOOKS.module_dict else ""
                keys["custom_hooks"].append({**hook, "type": f"{scope}{kind}" if scope else hook["type"]})
        return keys

    def run(self) -> dict[str, Any]:
        """Seed, log, and the weights that are started from."""
        keys, start = {}, self.raw.get("load_from")
        if isinstance(start, str) and "://" in start:
            self.left["load_from"] = f"nothing is downloaded; fetch {start} and give it with --load-from FILE"
        elif start:
            keys["load_from"] = start
        seed = (self.raw.get("randomness") or {}).get("seed")
        interval = ((self.raw.get("default_hooks") or {}).get("logger") or {}).get("interval")
        return keys | {key: value for key, value in (("seed", seed), ("log_interval", interval)) if value is not None}
