"""Volumes: a label map on the grid of every scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from densekit.tasks.base import Option, Task, register, whole_number

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
_LISTED = "msd, nnunet, folder"
_NUMBER: Mapping[str, Any] = {"type": whole_number}
_NAMES: Mapping[str, Any] = {"nargs": "+", "metavar": "NAME"}


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
        # No defaults here: an option that the kind does not take is an error, so it must be known whether it was given.
        "prepare": (
            Option("--encoding", "synapse: label values of the files", {"choices": ENCODINGS}),
            Option("--classes", "synapse: organs to train on (default: 13)", {"type": int, "choices": (13, 8)}),
            Option("--val-cases", "synapse: training cases held out for model selection (default: 3)", _NUMBER),
            Option(
                "--splits",
                f"{_LISTED}: CSV with columns case,split[,subject][,fold], or nnU-Net's splits_final.json",
                {"metavar": "FILE"},
            ),
            Option("--folds", "make as many folds, by patient, with an even share of every class", _NUMBER),
            Option("--table", f"{_LISTED}: CSV with a line per case: case,patient,age,...", {"metavar": "FILE"}),
            Option(
                "--classes-from",
                f"{_LISTED}: columns of the table with classes of patients; the others are meta-information",
                {"nargs": "+", "metavar": "COLUMN"},
            ),
            Option("--boxes", "folder: boxes, MONAI's JSON or a CSV case,class,x1_lps,...", {"metavar": "FILE"}),
            Option(
                "--box-mode",
                "folder: of a JSON of boxes, e.g. cccwhd lps",
                {"nargs": 2, "metavar": ("MODE", "SPACE")},
            ),
            Option("--box-classes", "folder: classes of boxes, by number from 0", _NAMES),
            Option("--may-lack", "folder: channels that a case may lack, or label", _NAMES),
            Option("--labels", "folder: class names of label values 1, 2, ...", _NAMES),
            Option("--channels", "folder: channel names, e.g. CT", _NAMES),
            Option(
                "--spacing",
                "target spacing in mm (default: the data set's rule)",
                {"type": float, "nargs": 3, "metavar": ("D", "H", "W")},
            ),
            Option("--native", "no resampling", {"action": "store_true"}),
            Option("--workers", "cases prepared side by side (default: one per core, at most 4)", _NUMBER),
            Option("--train", "phantom: training cases (default: 10)", _NUMBER),
            Option("--val", "phantom: validation cases (default: 2)", _NUMBER),
            Option("--test", "phantom: test cases (default: 3)", _NUMBER),
            Option("--unseen", "phantom: cases without a label (default: 1)", _NUMBER),
            Option("--seed", "phantom, and splits and folds drawn at random (default: 0)", _NUMBER),
        ),
    }
    kinds = (*KINDS, "phantom")

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

    def prepare(self, kind: str, raw: Path, out: Path | None, **options: Any) -> int:
        from densekit.datasets.volume.prepare.command import prepare

        return prepare(kind, raw, out, **options)

    def check(self, path: Path, *, json_path: Path | None = None, **options: Any) -> int:
        from densekit.datasets.volume.check import check

        return check(path, json_path=json_path, **options)
