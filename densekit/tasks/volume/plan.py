"""Training on volumes: what follows from a config and a prepared folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from torch import nn

from densekit.config_tree import plain, registered_name, written
from densekit.datasets.volume.store import Store, open_store
from densekit.engine.plan import Plan
from densekit.engine.preflight import SampleBatch
from densekit.errors import ConfigError, DataError, close_names
from densekit.evaluation.volume.score import check_settings
from densekit.models.assemble import model_config
from densekit.ops.window_settings import WindowSettings
from densekit.visualization.shared.curves import ScoreCurve


class VolumePlan(Plan):
    """A volume config with its prepared folder.

    Args:
        config: Complete, with its values checked.
        data: Prepared folder that replaces ``data_root``.

    Raises:
        ConfigError: for a value that cannot be.
        DataError: if the data set is missing.
    """

    score = "dice"
    memory_format = torch.channels_last_3d
    smaller = "patch_size"

    def __init__(self, config: Config, data: str | Path | None = None) -> None:
        super().__init__(config)
        root = data or config.data_root
        if root is None:
            raise ConfigError(f"{config.filename}: no data_root; give the prepared folder with --data=PATH")
        self.root = Path(root).resolve()
        self.store: Store = open_store(self.root, config.fold)

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
        self.cases(c.val_split)  # refuses one that is not there
        check_settings(self.store.labels, self.store.scored, self.convention, 1.0)
        if c.iterations_per_epoch % c.accumulate:
            raise ConfigError(
                f"{c.filename}: iterations_per_epoch={c.iterations_per_epoch} is not a multiple of accumulate="
                f"{c.accumulate}, so gradients would be under way when an epoch's checkpoint is written; make it one"
            )
        self.inference()
        super().check_training()

    def cases(self, split: str | None) -> list[str]:
        """Case ids of a split, or of several joined by ``+``, each once; none for None."""
        return [] if split is None else list(dict.fromkeys(self.store.ids(split)))

    def hashes(self, split: str | None) -> dict[str, str]:
        return self.store.hashes(self.cases(split))

    @property
    def validates(self) -> bool:
        """Whether there is a validation split with cases in it."""
        return bool(self.cases(self.config.val_split))

    @property
    def iterations_per_epoch(self) -> int:
        return self.config.iterations_per_epoch

    @property
    def curve(self) -> ScoreCurve:
        return ScoreCurve("dice", "Validation Dice, mean", "Validation Dice per structure", background=True)

    @property
    def class_names(self) -> list[str]:
        return list(self.store.labels)

    @property
    def patch_size(self) -> tuple[int, int, int]:
        return tuple(self.config.patch_size)

    @property
    def convention(self) -> str:
        return self.config.convention or self.store.convention

    def lower(self, batch_size: int, accumulate: int) -> None:
        steps = self.config.iterations_per_epoch // self.config.accumulate
        super().lower(batch_size, accumulate)
        self.config.iterations_per_epoch = steps * accumulate

    def inference(self) -> WindowSettings:
        """Sliding-window settings: the training patch as window unless another is given."""
        given = {"window": self.patch_size, **plain(self.config.inference)}
        try:
            return WindowSettings.from_config(given, labels=self.store.labels, mirror_pairs=self.store.mirror_pairs)
        except ConfigError as error:
            raise ConfigError(f"{self.config.filename}: {error}") from error

    def model(self) -> dict[str, Any]:
        """The network's config with class and channel counts of the data set filled in.

        Raises:
            ConfigError: if the config gives a count that is not the data set's.
        """
        counts = len(self.store.labels), len(self.store.channels)
        return plain(model_config(self.config.model, counts[0], in_channels=counts[1]))

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
            return plain(pipeline)
        return nnunet_augmentation(
            self.patch_size,
            mirror_axes=self.config.mirror_axes,
            mirror_pairs=self.store.mirror_pairs if self.config.mirror_relabel else None,
            labels=self.store.labels,
        )

    def network(self, *, fresh: bool = True) -> nn.Module:
        model = super().network(fresh=fresh)
        self.inference().check_fixed_size(model)
        if self.config.compile:
            _compile(model)
        return model

    def load_weights(self, model: nn.Module, path: str | Path) -> list[str]:
        from densekit.package.transfer import start_from

        return start_from(model, path, self.class_names, config=self.model()).lines()

    def train_loader(self) -> dict[str, Any]:
        c = self.config
        length = c.iterations_per_epoch * c.batch_size * get_world_size()
        return {
            "batch_size": c.batch_size,
            "num_workers": c.num_workers,
            "persistent_workers": c.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "drop_last": True,
            "sampler": {"type": "VolumePatchSampler"},
            "collate_fn": {"type": "default_collate"},
            "dataset": {
                "type": "VolumePatchDataset",
                "root": str(self.root),
                "split": c.train_split,
                "fold": c.fold,
                "patch_size": self.patch_size,
                "pipeline": self.pipeline(),
                "foreground_ratio": c.foreground_ratio,
                "batch_size": c.batch_size * get_world_size(),  # the foreground share is counted over all processes
                "seed": c.seed,
                "length": length,
            },
        }

    def worst_batch(self, batch_size: int) -> SampleBatch:
        return replace(super().worst_batch(batch_size), kind=("patch", "patches"))

    def validation(self, work_dir: Path) -> dict[str, Any]:
        from densekit.inference.volume.validation import VolumeValLoop

        c, store = self.config, self.store
        return {
            "val_dataloader": {
                "batch_size": 1,
                "num_workers": min(1, c.num_workers),
                "sampler": {"type": "DefaultSampler", "shuffle": False},
                "collate_fn": {"type": "pseudo_collate"},
                "dataset": {"type": "VolumeDataset", "root": str(self.root), "split": c.val_split, "fold": c.fold},
            },
            "val_cfg": {"type": VolumeValLoop},
            "val_evaluator": [
                {
                    "type": "VolumeMetric",
                    "labels": list(store.labels),
                    "scored": list(store.scored),
                    "convention": self.convention,
                    "surface": c.surface_metrics,
                    "collect_dir": str(work_dir / ".collect"),
                }
            ],
        }

    def described(self) -> dict[str, Any]:
        store, described = self.store, super().described()
        described["meta"] |= {
            "dataset": store.name,
            "scored": list(store.scored),
            "convention": self.convention,
            "mirror_pairs": [list(pair) for pair in store.mirror_pairs],
        }
        return described | {
            "preprocessing": store.preprocessing.to_dict(),
            "inference": self.inference().to_dict(),
        }

    def resolved(self) -> dict[str, Any]:
        return super().resolved() | {
            "data_root": str(self.root),
            "model": written(self.model(), registered_name),
            "train_pipeline": written(self.pipeline()),
            "inference": self.inference().to_dict(),
            "convention": self.convention,
            "labels": list(self.store.labels),
            "scored": list(self.store.scored),
            "preprocessing": self.store.preprocessing.to_dict(),
        }


def _compile(model: torch.nn.Module) -> None:
    """Compile what takes the time, in place.

    MMEngine's own switch compiles the whole training step, in which the learning rate is a constant: it would compile
    again in every epoch.
    """
    for part in (model.backbone, getattr(model, "neck", None)):
        if part is not None:
            part.compile()
