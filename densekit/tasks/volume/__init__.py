"""Volumes: a label map on the grid of every scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from densekit.tasks.base import Option, Task, register

if TYPE_CHECKING:
    from mmengine.config import Config

    from densekit.engine.run_report import RunReport
    from densekit.engine.settings import Setting
    from densekit.evaluation.volume import ScoreTable
    from densekit.inference.inputs import Wanted
    from densekit.inference.volume.batch import BatchResult
    from densekit.inference.volume.predictor import VolumePredictor
    from densekit.package import Checkpoint
    from densekit.tasks.volume.plan import VolumePlan

CONVENTIONS = ("strict", "nnformer", "transunet")
KINDS = ("synapse", "acdc", "msd", "nnunet", "folder")
ENCODINGS = ("raw", "transunet", "packed", "cascade")


@register
class VolumeTask(Task):
    """Segmentation of CT and MRI."""

    name = "volume"
    does = "segments volumes"
    options: ClassVar = {
        "train": (Option("--fold", "fold to train on, from 0", {"type": int}),),
        "test": (
            Option("--convention", "empty masks (default: the data set's own)", {"choices": CONVENTIONS}),
            Option("--fold", "fold of the splits (default: the checkpoint's)", {"type": int}),
            Option("--no-surface", "Dice only, without HD95 and surface Dice", {"action": "store_true"}),
        ),
        "predict": (
            Option(
                "--overlap",
                "overlap of neighbouring windows, 0 to below 1 (default: the checkpoint's)",
                {"type": float},
            ),
            Option("--batch", "windows per forward pass (default: the checkpoint's)", {"type": int}),
            Option("--strict", "a scan in another unit than the training's fails", {"action": "store_true"}),
        ),
        "check": (
            Option("--kind", "layout of raw volumes", {"choices": KINDS}),
            Option("--encoding", "synapse: label values of the files", {"choices": ENCODINGS}),
        ),
    }

    @cached_property
    def settings(self) -> Mapping[str, Setting]:
        from densekit.tasks.volume.settings import SETTINGS

        return SETTINGS

    @cached_property
    def inputs(self) -> Wanted:
        from densekit.inference.inputs import VOLUMES

        return VOLUMES

    def plan(self, config: Config, data: str | Path | None) -> VolumePlan:
        from densekit.tasks.volume.plan import VolumePlan

        return VolumePlan(config, data)

    def report(self, plan: VolumePlan) -> RunReport:
        from densekit.tasks.volume.report import VolumeReport

        return VolumeReport(plan)

    def predictor(self, checkpoint: Checkpoint, *, device: str = "auto", **options: Any) -> VolumePredictor:
        """The network of a checkpoint; options are ``overlap``, ``batch`` and ``strict``."""
        from densekit.inference.volume.predictor import VolumePredictor

        return VolumePredictor.from_checkpoint(checkpoint, device=device, **options)

    def predict_many(
        self, checkpoint: Checkpoint, inputs: Sequence[str | Path], out: Path, **options: Any
    ) -> BatchResult:
        from densekit.inference.volume.batch import predict_many

        return predict_many(checkpoint, inputs, out, **options)

    def score(self, predictor: VolumePredictor, data: str | Path, split: str | None = None, **how: Any) -> ScoreTable:
        from densekit.tasks.volume.score import score_volumes

        return score_volumes(predictor, data, split, **how)

    def recognizes(self, path: Path) -> bool:
        from densekit.datasets.volume.recognize import holds_volumes

        return not path.exists() or holds_volumes(path)  # somebody has to say that it is not there

    def check(self, path: Path, *, json_path: Path | None = None, **options: Any) -> int:
        from densekit.datasets.volume.check import check

        return check(path, json_path=json_path, **options)
