"""Training detectors: what follows from a config and a data set of boxes or masks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from torch import nn

from densekit.datasets.detection import PreparedDetection, prepare_detection
from densekit.datasets.detection.worst_batch import WorstBatch, worst_batch
from densekit.engine.plan import Plan, plain, written
from densekit.engine.values import DETECTION
from densekit.errors import ConfigError, DataError, close_names
from densekit.models.assemble import model_config
from densekit.registry import TRANSFORMS

DETECTIONS = "detections.json"
_MASKED = re.compile(r"Mask|SOLO|CondInst|QueryInst|PointRend|YOLACT|BoxInst|Ins(Sep)?(BN)?Head$")
_SHOWN_FINDINGS = 12
_BATCH_OF_NORMS = 4
"""Images that batch norm in a neck wants at a time."""


class DetectionPlan(Plan):
    """A detection config with its data set.

    Args:
        config: What :func:`densekit.engine.config.load_config` returned.
        data: Data set of any recognised layout that replaces ``data_root``.

    Raises:
        ConfigError: for a value that cannot be.
        DataError: if the data set is missing or has errors.
    """

    task, scope, checks = "detection", "mmdet", DETECTION
    beside = (DETECTIONS,)
    memory_format = torch.channels_last
    smaller = "the scale of the Resize transforms"

    def __init__(self, config: Config, data: str | Path | None = None) -> None:
        super().__init__(config)
        self._backbone_lines: list[str] = []
        root = data or config.data_root
        if root is None:
            raise ConfigError(f"{config.filename}: no data_root; give the data set with --data PATH")
        self.data: PreparedDetection = prepare_detection(
            root,
            format=config.data_format,
            classes=config.classes,
            seed=None if config.val_split is None else 0,  # all images train if none validate
            input_size=self._input_size(),
        )

    @property
    def score(self) -> str:
        return "mask_AP" if self.masks else "AP"

    @cached_property
    def masks(self) -> bool:
        """Whether the network predicts masks as well as boxes."""
        return any(_MASKED.search(str(kind)) for kind in _types(self.model()))

    @property
    def validates(self) -> bool:
        return self.config.val_split is not None

    @property
    def class_names(self) -> list[str]:
        return list(self.data.classes)

    @property
    def iterations_per_epoch(self) -> int:
        images = self.data.counts[self.config.train_split]["images"] * self.config.repeat
        # each process's share is filled up to whole steps, see EpochSampler
        return -(-images // self.images_per_step) * self.config.accumulate

    def check_training(self) -> None:
        """Check everything that a training would find out late, some of it at the first validation only.

        Raises:
            ConfigError: for values that cannot work together, or a part that cannot be built.
            DataError: if a split is missing or has no objects, or there are no outlines for a network with masks.
        """
        c = self.config
        for key in ("train_split", "val_split"):
            split = c[key]
            if split is not None and split not in self.data.counts:
                raise DataError(
                    f"{self.data.root}: has no split {split!r} (it has {', '.join(self.data.counts)})"
                    f"{close_names(split, self.data.counts)}; set {key}, val_split=None does without a validation"
                )
        if not self.data.counts[c.train_split]["objects"]:
            raise DataError(
                f"{self.data.root}: no image of split {c.train_split!r} has an object; there is nothing to learn"
            )
        if self.masks and not self.data.has_masks:
            raise DataError(
                f"{self.data.root}: {c.filename} trains a network that predicts masks, but the data have boxes without "
                f"outlines; take a config without mask_head, or annotate outlines"
            )
        if c.lr_batch is not None and "lr" not in c.optimizer:
            raise ConfigError(
                f"{c.filename}: optimizer={plain(c.optimizer)} has no lr that lr_batch={c.lr_batch} could scale; give "
                f"one, or set lr_batch=None"
            )
        for name in ("train_pipeline", "test_pipeline"):
            self._check_transforms(name)
        self.check_parts()

    def _check_transforms(self, key: str) -> None:
        """Build each transform once: it refuses now what it would refuse in a worker process."""
        from mmdet.registry import TRANSFORMS as known
        from mmengine.registry import DefaultScope

        known.import_from_location()
        transforms = self.train_transforms() if key == "train_pipeline" else self.test_transforms()
        with DefaultScope.overwrite_default_scope(self.scope):
            for number, given in enumerate(transforms):
                kind = given.get("type")
                if isinstance(kind, str) and known.get(kind) is None and TRANSFORMS.get(kind) is None:
                    raise ConfigError(
                        f"{self.config.filename}: {key}.{number}: {kind!r} is no transform of MMDetection or densekit"
                        f"{close_names(kind, [*known.module_dict, *TRANSFORMS.module_dict])}"
                    )
                try:
                    known.build(dict(given))
                except (TypeError, ValueError, AssertionError, KeyError) as error:
                    reason = " ".join(str(error).split())
                    raise ConfigError(
                        f"{self.config.filename}: {key}.{number}={_named(given)} cannot be used: {reason}"
                    ) from error

    # --- data ---------------------------------------------------------------------------------------------------------
    def train_transforms(self) -> list[dict[str, Any]]:
        """The transforms between loading and packing, those of the ``augment`` preset included."""
        transforms = plain(list(self.config.train_pipeline))
        if self.config.augment is not None:
            from densekit.datasets.detection.augmentation import augmentation

            transforms += augmentation(self.config.augment, masks=self.masks)
        return transforms

    def test_transforms(self) -> list[dict[str, Any]]:
        """The transforms between loading and packing of a picture that is predicted."""
        return plain(list(self.config.test_pipeline))

    def _input_size(self) -> tuple[int, int]:
        """Longer and shorter side of the largest picture that a Resize of the training makes."""
        sides = [pair for t in self.config.train_pipeline for pair in _scales(t)]
        return max(sides, key=lambda pair: pair[0] * pair[1], default=(1333, 800))

    @cached_property
    def train_dataset(self) -> Any:
        """The training images as :class:`~densekit.datasets.detection.training.SeededDataset`."""
        from densekit.datasets.detection.loading import with_loading
        from densekit.datasets.detection.training import SeededDataset, coco_dataset

        c = self.config
        pipeline = with_loading(self.train_transforms(), masks=self.masks)
        dataset = coco_dataset(self.data.annotations[c.train_split], self.data.root, self.data.classes, pipeline)
        return SeededDataset(dataset, c.seed, c.repeat)

    def test_dataset(self, split: str, transforms: Sequence[Mapping[str, Any]]) -> Any:
        """Return the images of a split as they are predicted, with their boxes."""
        from densekit.datasets.detection.loading import with_loading
        from densekit.datasets.detection.training import coco_dataset

        keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")
        pipeline = with_loading(transforms, masks=self.masks, meta_keys=keys)  # the pictures show the truth's masks
        return coco_dataset(self.data.annotations[split], self.data.root, self.data.classes, pipeline, test=True)

    def train_loader(self) -> dict[str, Any]:
        from densekit.datasets.detection.training import EpochSampler

        c = self.config
        return {
            "batch_size": c.batch_size,
            "num_workers": c.num_workers,
            "persistent_workers": c.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "sampler": {"type": EpochSampler, "shuffle": True, "multiple": c.batch_size * c.accumulate},
            "batch_sampler": {"type": "mmdet.AspectRatioBatchSampler"},
            "dataset": self.train_dataset,
        }

    def worst_batch(self, batch_size: int) -> WorstBatch:
        return worst_batch(self.train_dataset, batch_size, largest=self._input_size())

    def test_loader(self, split: str, transforms: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """Config of the DataLoader of a split as it is predicted: one image at a time, so that none is padded.

        Args:
            split: Name of the split.
            transforms: Those between loading and packing; default the config's ``test_pipeline``.
        """
        return {
            "batch_size": 1,
            "num_workers": min(2, self.config.num_workers),
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": self.test_dataset(split, self.test_transforms() if transforms is None else transforms),
        }

    def metric(self, split: str, work_dir: Path) -> dict[str, Any]:
        """Config of the metric of a split."""
        return {
            "type": "densekit.DetectionMetric",
            "ann_file": str(self.data.annotations[split]),
            "iou_types": ("bbox", "segm") if self.masks else ("bbox",),
            "out": str(work_dir / DETECTIONS),
            "collect_dir": str(work_dir / ".collect"),
            "max_dets": self.config.max_dets,
        }

    def validation(self, work_dir: Path) -> dict[str, Any]:
        split = self.config.val_split
        return {
            "val_dataloader": self.test_loader(split),
            "val_cfg": {},
            "val_evaluator": [self.metric(split, work_dir)],
        }

    # --- network ------------------------------------------------------------------------------------------------------
    def model(self) -> dict[str, Any]:
        return plain(model_config(self.config.model, len(self.data.classes), pretrained=bool(self.config.pretrained)))

    def network(self, *, fresh: bool = True) -> nn.Module:
        from densekit.package.pretrained import load_backbone, separate_backbone

        config, source = separate_backbone(self.model())
        model = self._drawn(config)
        if fresh:
            self._backbone_lines = load_backbone(model, self.config.pretrained, source)
        return model

    def load_weights(self, model: nn.Module, path: str | Path) -> list[str]:
        from densekit.package.transfer import start_from

        return start_from(model, path, self.data.classes, config=self.model()).lines()

    def optimizer(self) -> dict[str, Any]:
        optimizer = super().optimizer()
        if self.config.lr_batch is not None:
            optimizer["lr"] = optimizer["lr"] * self.images_per_step / self.config.lr_batch
        return optimizer

    def optim_wrapper(self) -> dict[str, Any]:
        wrapper = super().optim_wrapper()
        return {**wrapper, **({"paramwise_cfg": plain(self.config.paramwise)} if self.config.paramwise else {})}

    # --- seeing -------------------------------------------------------------------------------------------------------
    def picture_hooks(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "densekit.DetectionPictureHook",
                "names": self.class_names,
                "images": self.config.pictures,
                "threshold": self.config.score_threshold,
            }
        ]

    def before_training(self, runner: Any) -> list[str]:
        if not self.config.pictures:
            return []
        from densekit.visualization.detection.drawing import training_mosaic

        path = Path(runner.work_dir) / "pictures" / "training.png"
        path.parent.mkdir(exist_ok=True)
        training_mosaic(self.train_dataset, path, names=self.class_names)
        return [f"what the network gets, after augmentation: {path}"]

    def after_training(self, runner: Any, minutes: float) -> list[str]:
        folder = Path(runner.work_dir)
        detections = folder / f"best_{DETECTIONS}"
        if not (self.validates and detections.is_file()):
            return ["no report.html: nothing was scored"]
        finished = runner.resuming and runner.epoch == runner.started_at
        if finished and (folder / "report.html").is_file():
            return []
        self.write_report(
            folder,
            self.config.val_split,
            detections,
            [
                (
                    "training",
                    f"{runner.epoch} epochs, seed {self.config.seed}"
                    + ("" if runner.resuming else f", {minutes:.1f} minutes"),
                ),
                ("weights", f"best.pth, the epoch of the best {self.score}"),
            ],
        )
        return [f"report: {folder / 'report.html'}"]

    def write_report(self, folder: Path, split: str, detections: Path, facts: Sequence[tuple[str, str]]) -> None:
        """Write ``report.html`` about the detections in the images of a split."""
        from densekit.visualization.detection.report import write_detection_report

        counts = self.data.counts[split]
        curves = folder / "curves.png"
        write_detection_report(
            folder / "report.html",
            truth=self.data.annotations[split],
            root=self.data.root,
            detections=detections,
            title=f"{Path(self.config.filename).stem} on {self.data.name}",
            curves=curves if curves.is_file() else None,
            max_dets=self.config.max_dets,
            facts=[
                ("data set", f"{self.data.name}: {self.data.layout}"),
                ("scored on", f"{counts['images']:,} images of {split!r}, {counts['objects']:,} objects"),
                *facts,
            ],
        )

    # --- words --------------------------------------------------------------------------------------------------------
    def described(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "model_config": self.model(),
            "preprocessing": {
                "pipeline": [_scoped(t) for t in self.test_transforms()],
                "masks": self.masks,
                "fingerprint": self.data.fingerprint,
            },
            "labels": self.class_names,
            "inference": {"score_threshold": self.config.score_threshold},
            "meta": {
                "dataset": self.data.name,
                "config": str(self.config.filename and Path(self.config.filename).name),
            },
        }

    def resolved(self) -> dict[str, Any]:
        return {
            **{key: written(value) for key, value in self.config.items() if key != "model"},
            "data_root": str(self.data.root),
            "data_format": self.data.format,
            "classes": self.class_names,
            "fingerprint": self.data.fingerprint,
            "model": written(self.model()),
            "train_pipeline": written(self.train_transforms()),
            "test_pipeline": written(self.test_transforms()),
            "optimizer": written(self.optimizer()),
            "schedule": written(self.schedule()),
        }

    def derived(self) -> dict[str, str]:
        c, found = self.config, {}
        if c.lr_batch is not None:
            found["optimizer.lr"] = f"{c.optimizer['lr']:g} for {c.lr_batch} images a step, here {self.images_per_step}"
        if c.classes is None:
            found["classes"] = "from the data set"
        if c.data_format is None:
            found["data_format"] = "recognised"
        if c.augment is not None:
            found["train_pipeline"] = f"with the preset augment={c.augment!r}"
        return found

    def describe(self) -> list[str]:
        c = self.config
        lines = [f"data set {self.data.name} ({self.data.root}): {self.data.layout}"]
        lines += [found.message for found in self.data.findings if found.code in ("layout", "split-drawn")]
        for split in dict.fromkeys((c.train_split, c.val_split)):
            if split is not None:
                n = self.data.counts[split]
                lines.append(
                    f"{split}: {n['images']:,} images, {n['objects']:,} objects, {n['background']:,} background images "
                    f"(kept)"
                )
        names = ", ".join(self.data.classes[:12]) + (" ..." if len(self.data.classes) > 12 else "")
        lines.append(f"{len(self.data.classes)} classes: {names}")
        twice = self.iterations_per_epoch * c.batch_size * get_world_size()
        twice -= self.data.counts[c.train_split]["images"] * c.repeat
        lines.append(
            f"batch {c.batch_size}, {c.max_epochs} epochs of {self.iterations_per_epoch} iterations"
            + (f" ({twice} image{'s' * (twice > 1)} taken twice, so that every batch is full)" if twice else "")
        )
        if c.lr_batch is not None:
            lines.append(
                f"learning rate {c.optimizer['lr']:g} is for {c.lr_batch} images a step, this run has "
                f"{self.images_per_step}: {self.optimizer()['lr']:g}"
            )
        lines += self._backbone_lines
        if not self.validates:
            lines.append("no validation: best.pth will be the last epoch, and there will be no report.html")
        return lines

    def _batch_normed_necks(self) -> str:
        necks = self.model().get("neck") or []
        necks = necks if isinstance(necks, (list, tuple)) else [necks]
        return " and ".join(str(neck["type"]).rpartition(".")[2] for neck in necks if _batch_normed(neck))

    def cautions(self) -> list[str]:
        c = self.config
        found = [f for f in self.data.findings if f.severity == "warning"]
        lines = [
            f"{f.message}: {f.count:,}"
            + (f", e.g. {f.examples[0].where}" if f.examples else "")
            + (f"; {f.remedy}" if f.remedy else "")
            for f in found[:_SHOWN_FINDINGS]
        ]
        if len(found) > _SHOWN_FINDINGS:
            lines.append(f"{len(found) - _SHOWN_FINDINGS} more kinds of warning: `densekit check {self.data.root}`")
        if c.val_split == c.train_split:
            lines.append(
                f"train_split and val_split are both {c.val_split!r}: best.pth is chosen by images it was trained on"
            )
        if c.batch_size < _BATCH_OF_NORMS and (necks := self._batch_normed_necks()):
            lines.append(
                f"{necks}: batch norm in the neck sees {c.batch_size} image{'s' * (c.batch_size > 1)} at a time, and "
                f"accumulate does not change that; it wants {_BATCH_OF_NORMS}: take SyncBN with several GPUs, or GN in "
                f"RCFPN"
            )
        for number, schedule in enumerate(self.schedule()):
            late = [m for m in schedule.get("milestones", ()) if m >= c.max_epochs and schedule["by_epoch"]]
            if late:
                lines.append(
                    f"schedule.{number}: milestones {late} lie beyond max_epochs={c.max_epochs}, the learning rate "
                    f"does not drop there"
                )
            steps = self.iterations_per_epoch * c.max_epochs
            if not schedule["by_epoch"] and schedule.get("begin", 0) == 0 and schedule.get("end", 0) > steps:
                lines.append(
                    f"schedule.{number}: ends after {schedule['end']} iterations, the run has {steps}: it does not get "
                    f"that far"
                )
        return lines


def _batch_normed(neck: Mapping[str, Any]) -> bool:
    """Whether it is a neck of densekit whose batch norms learn their statistics from the batch of one process."""
    kind = str(neck.get("type")).rpartition(".")[2]
    normed = kind == "RCFPN" or (kind == "SEPC" and neck.get("ibn", True))
    return normed and (neck.get("norm_cfg") or {"type": "BN"})["type"] == "BN"


def _types(config: Any) -> Iterator[Any]:
    """Every ``type`` in a config."""
    if isinstance(config, Mapping):
        if "type" in config:
            yield config["type"]
        for child in config.values():
            yield from _types(child)
    elif isinstance(config, (list, tuple)):
        for child in config:
            yield from _types(child)


def _scales(transform: Any) -> Iterator[tuple[int, int]]:
    """(longer, shorter) side in pixels of each ``scale`` or ``scales`` of a Resize."""
    if isinstance(transform, Mapping):
        kind = transform.get("type", "")
        resizes = "Resize" in getattr(kind, "__name__", str(kind))
        for key, value in transform.items():
            if resizes and key in ("scale", "scales"):
                yield from _sizes(value)
            else:
                yield from _scales(value)
    elif isinstance(transform, (list, tuple)):
        for child in transform:
            yield from _scales(child)


def _sizes(value: Any) -> Iterator[tuple[int, int]]:
    try:
        pairs = np.atleast_2d(np.asarray(value, dtype=float))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"train_pipeline: a Resize has scale={value!r}, expected the longer and the shorter side in pixels, e.g. "
            f"(1333, 800), or a list of such pairs"
        ) from error
    if pairs.ndim == 2 and pairs.shape[1] == 2:
        yield from ((int(max(pair)), int(min(pair))) for pair in pairs if min(pair) > 1)


def _scoped(transform: Any) -> Any:
    """A transform's config in plain values, its class by the name and the scope it is registered under."""
    if isinstance(transform, Mapping):
        return {key: _scoped(value) for key, value in transform.items()}
    if isinstance(transform, (list, tuple)):
        return type(transform)(_scoped(value) for value in transform)
    if isinstance(transform, type):
        package = transform.__module__.partition(".")[0]
        # mmcv registers in MMEngine's root registry
        return f"{package if package in ('densekit', 'mmdet') else 'mmengine'}.{transform.__name__}"
    return transform


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    return written(dict(given))
