"""What ``import densekit as dk`` offers: load, predict, score, train, check, put parts together; see docs/python.md.

It is the command line for Python: the same verbs (:mod:`densekit.tasks.verbs`), with objects where these have files.
Everything heavy is imported by the function that needs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from densekit.arguments import checked
from densekit.errors import ConfigError, close_names

if TYPE_CHECKING:
    from mmengine.config import ConfigDict
    from torch import nn

    from densekit.inference.predictor import Predictor, Result
    from densekit.inference.run import RunResult
    from densekit.models.assemble import Part
    from densekit.package import Checkpoint
    from densekit.tasks.base import Table

# Before torch is loaded, as densekit.cli does, and for its reason.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


# --- load, predict ----------------------------------------------------------------------------------------------------
class Model:
    """A trained network, ready to predict; what :func:`load` returns.

    Args:
        checkpoint: A checkpoint, read.
        device: ``"auto"`` (CUDA if there is any), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        **options: Those of its task, see :func:`load`.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", **options: Any):
        from densekit import tasks

        self.checkpoint, self.options = checkpoint, options
        self.predictor: Predictor = tasks.predictor(checkpoint, device=device, **options)
        self.device = str(self.predictor.device)

    def __repr__(self) -> str:
        names = ", ".join(self.labels[:6]) + ", ..." * (len(self.labels) > 6)
        return f"Model({str(self.checkpoint.path)!r}, task={self.task!r}, device={self.device!r}, labels=[{names}])"

    @property
    def task(self) -> str:
        """Its kind of job: ``"volume"``, ``"detection"``, ``"segmentation"``."""
        return self.checkpoint.task

    @property
    def labels(self) -> list[str]:
        """Class names by label value; of volumes the first is the background."""
        return list(self.checkpoint.labels)

    @property
    def card(self) -> dict[str, Any]:
        """What the checkpoint says of itself, in plain values.

        Task, labels, config, data set, score, versions, settings of the run, preprocessing and inference.
        """
        c = self.checkpoint
        said = {"path": str(c.path), "task": c.task, "labels": self.labels, **c.meta}
        for key in ("trained_on", "training_looks"):  # of every case
            said.pop(key, None)
        return {**said, "preprocessing": c.preprocessing, "inference": c.inference}

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode on :attr:`device`."""
        return self.predictor.model

    def predict(self, source: Any) -> Result:
        """Predict one input.

        Args:
            source: For a network of volumes a file (``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``), an image of nibabel or
                SimpleITK, ``(array, affine)`` with the array ``(i, j, k)`` and the affine ``(4, 4)`` from its indices
                to RAS mm, or a list of one of these per channel. For a network of images a file, Pillow's image, or an
                array ``(H, W, 3)`` uint8 in RGB.

        Returns:
            The result; all have ``save(path)``, ``draw(path=None)``, ``to_dict()``, ``notes`` and ``seconds``.

        Raises:
            DataError: if the input cannot be read, or is not what the network takes.
        """
        if isinstance(source, (str, os.PathLike)):
            from densekit.tasks import task_of
            from densekit.tasks.verbs import check_inputs_fit

            check_inputs_fit(task_of(self.checkpoint), [source], self.checkpoint.path)
        return self.predictor.predict(source)

    @checked
    def predict_many(
        self, inputs: str | Path | Sequence[str | Path], out: str | Path = "predictions", *, overwrite: bool = False
    ) -> RunResult:
        """Predict files, folders and globs into a folder, as ``densekit predict`` does.

        Args:
            inputs: One or several.
            out: Output folder: results, pictures, tables, a report; what is there already and is the same is kept.
            overwrite: Replace results that are there and are not the same.

        Returns:
            What became of each input, in ``rows``; one bad input costs that input.

        Raises:
            DataError, CheckpointError, ConfigError, OutputError: for what concerns the run as a whole.
        """
        from densekit import tasks

        return tasks.predict(self.checkpoint, inputs, out, device=self.device, overwrite=overwrite, **self.options)


@checked
def load(path: str | Path, device: str = "auto", **options: Any) -> Model:
    """Load a trained network.

    Args:
        path: ``best.pth`` or ``last.pth``.
        device: ``"auto"`` (CUDA if there is any), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        **options: Of volumes ``overlap`` (of neighbouring windows, 0 to below 1) and ``batch`` (windows at a time); of
            detectors ``threshold`` (lowest score that is drawn, listed and counted).

    Raises:
        CheckpointError: if it cannot be read, or holds no network that can be built here.
        ConfigError: for an option that is not the task's, or a device that is not there.
    """
    from densekit.package import load_checkpoint

    return Model(load_checkpoint(path), device, **options)


# --- score, check -----------------------------------------------------------------------------------------------------
@checked
def score(
    model: Model | str | Path,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    **options: Any,
) -> Table:
    """Score a network on a split, as ``densekit test`` does.

    Args:
        model: A loaded model, with the options it was loaded with, or the file of one.
        data: Data set; default the one it was trained on.
        split: Default ``"test"`` for volumes, where several are joined by ``+``; of boxes the validation images.
        out: Folder for the scores; default ``test_<checkpoint>_<split>`` beside the checkpoint.
        device: Default the model's.
        **options: Of volumes ``convention`` (of empty masks), ``fold``, ``no_surface=True`` (Dice only); of boxes
            ``classes``, ``data_format``, ``max_dets``, as in a config.

    Returns:
        The scores; ``print(table)`` shows them, ``failures`` names the cases that could not be scored.

    Raises:
        ConfigError, DataError, CheckpointError, OutputError: for what the user can put right.
    """
    from densekit import tasks

    if isinstance(model, Model):
        again = device not in (None, model.device)
        model = Model(model.checkpoint, device, **model.options).predictor if again else model.predictor
    return tasks.test(model, data=data, split=split, out=out, device=device or "auto", **options)


@dataclass(frozen=True, repr=False)
class CheckResult:
    """Whether a data set is sound.

    Attributes:
        status: Exit status of ``densekit check``: 0 or 2.
        findings: What was found, each with ``severity`` (``"error"``, ``"warning"``, ``"note"``) and ``message`` at
            least.
    """

    status: int
    findings: tuple[Mapping[str, Any], ...]

    def __repr__(self) -> str:
        lines = [f"  {f['severity']}: {f['message']}" for f in self.findings]
        return "\n".join([f"CheckResult: {'sound' if self.sound else 'not sound'}", *lines])

    @property
    def sound(self) -> bool:
        """Whether it can be trained on; warnings are allowed."""
        return self.status == 0


@checked
def check(path: str | Path, *, task: str | None = None, **options: Any) -> CheckResult:
    """Say whether a data set is sound: print what was found, as ``densekit check`` does, and return it.

    Args:
        path: Data set.
        task: Its task; default: recognised by what lies there.
        **options: Of raw volumes ``kind`` and ``encoding``; of boxes ``format`` and ``html`` (a page to write).

    Raises:
        ConfigError, DataError: if there is nothing that could be checked.
    """
    from densekit import tasks

    with TemporaryDirectory() as folder:
        file = Path(folder) / "findings.json"
        status = tasks.check(path, task=task, json_path=file, **options)
        findings = json.loads(file.read_text(encoding="utf-8")).get("findings", []) if file.is_file() else []
    return CheckResult(status, tuple(findings))


# --- train ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, repr=False)
class TrainingRun:
    """A finished training.

    Attributes:
        folder: Its work folder: ``best.pth``, ``last.pth``, ``config.txt``, ``scalars.csv``, ``curves.png`` ...
    """

    folder: Path

    def __repr__(self) -> str:
        from densekit.package import load_checkpoint

        if not self.best.is_file():
            return f"TrainingRun: {self.folder}, without its best.pth"
        said = load_checkpoint(self.best).meta
        score = "not validated" if said["best_score"] is None else f"best score {said['best_score']:.4f}"
        lines = [f"trained on {said.get('dataset', 'its data')}", f"best.pth is of epoch {said['epoch']}, {score}"]
        return "\n  ".join([f"TrainingRun: {self.folder}", *lines])

    @property
    def best(self) -> Path:
        """The checkpoint with the best validation score."""
        return self.folder / "best.pth"

    @cached_property
    def model(self) -> Model:
        """It, loaded."""
        return load(self.best)


@checked
def train(
    config: str | Path,
    *,
    data: str | Path | None = None,
    work_dir: str | Path | None = None,
    resume: bool = False,
    load_from: str | Path | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    amp: str | None = None,
    fold: int | None = None,
    launcher: str = "none",
    **overrides: Any,
) -> TrainingRun:
    """Train a network, as ``densekit train`` does.

    Args:
        config: A config file, or the name of a config of the package.
        data: Data set that replaces the config's ``data_root``.
        work_dir: Where everything is written; default ``runs/<config>/<time>``.
        resume: Continue from ``last.pth`` of ``work_dir``, or of the newest run of this config; with a larger
            ``max_epochs``, train a finished one on.
        load_from: Checkpoint whose weights to start from.
        seed: Replaces the config's seed.
        deterministic: Only deterministic kernels; slower on a GPU.
        amp: ``"bf16"`` or ``"fp16"``.
        fold: Fold to train on, of a task that has folds.
        launcher: ``"pytorch"`` under torchrun.
        **overrides: Keys of the config, parts of them with dots: ``max_epochs=10``, ``**{"optimizer.lr": 0.02}``.

    Raises:
        ConfigError, DataError, CheckpointError, OutputError: for what the user can put right.
    """
    from densekit import tasks

    run = {"work_dir": work_dir, "resume": resume, "load_from": load_from, "seed": seed, "fold": fold}
    run |= {"deterministic": deterministic, "amp": amp, "launcher": launcher}
    runner = tasks.train(config, data=data, options=tuple(overrides.items()), **run)
    return TrainingRun(Path(runner.work_dir))


# --- parts ------------------------------------------------------------------------------------------------------------
@checked
def assemble(*, backbone: Part, head: Part, num_classes: int, **parts: Any) -> ConfigDict:
    """Make the config of a model out of its parts, see :func:`densekit.models.assemble.assemble`.

    Raises:
        ConfigError: for parts that do not fit; it names both, and what would fit.
    """
    from densekit.models.assemble import model_config

    counts = {name: parts.pop(name) for name in ("in_channels", "pretrained") if name in parts}
    return model_config({"backbone": backbone, "head": head, **parts}, num_classes, **counts)


@checked
def create_model(
    name: str, *, num_classes: int, in_channels: int | None = None, pretrained: bool = False, **parts: Any
) -> nn.Module:
    """Build an untrained network.

    Args:
        name: A named size (``"dformer"``, ``"monai_unet"``; ``"resnet50"`` needs a head, and mostly a neck), or a
            config of the package (``"retinanet-fpn-r50_coco"``), whose network is taken.
        num_classes: Classes to tell apart; for volumes with the background.
        in_channels: Channels of the input. Default: 1 for volumes, 3 for images.
        pretrained: Load the published weights of its backbone, where there are any.
        **parts: ``neck``, ``head`` and the other arguments of :func:`assemble`, put over those of the name.

    Raises:
        ConfigError: for an unknown name, or parts that do not fit.
    """
    from densekit.models.variants import VARIANTS

    if name in VARIANTS:
        model = {"backbone": name, **VARIANTS[name].decoder, **parts}
        if "head" not in model:
            raise ConfigError(
                f"{name}: is a backbone; say what follows it, e.g. "
                f"create_model({name!r}, neck='FPN', head='RetinaHead', num_classes={num_classes})"
            )
    else:
        from densekit.engine.config import shipped_configs
        from densekit.tasks import load_config

        known = [*VARIANTS, *shipped_configs()]
        if name not in known:
            raise ConfigError(f"there is no network {name!r}{close_names(name, known)}; `densekit models` lists them")
        model = {**load_config(name).model, **parts}
    return _built(model, num_classes, in_channels=in_channels, pretrained=pretrained)


def _built(model: Mapping[str, Any], num_classes: int, *, in_channels: int | None, pretrained: bool) -> nn.Module:
    """The network of what a config calls ``model``."""
    from mmengine.config import ConfigDict
    from mmengine.registry import DefaultScope

    from densekit.engine.plan import quiet_drawing
    from densekit.models.assemble import model_config
    from densekit.package.pretrained import load_backbone, separate_backbone
    from densekit.registry import MODELS

    whole = model_config(model, num_classes, in_channels=in_channels, pretrained=pretrained)
    config, weights = separate_backbone(whole)
    MODELS.import_all()
    with DefaultScope.overwrite_default_scope(str(config["type"]).rpartition(".")[0] or "densekit"):
        network = MODELS.build(ConfigDict(config))
        with quiet_drawing():
            network.init_weights()  # in its scope: that of an earlier training would make MMEngine warn
    if pretrained:
        load_backbone(network, True, weights)
    return network


@checked
def list_parts(
    room: str | None = None, *, dims: int | None = None, fits: Part | Sequence[Part] | None = None
) -> list[str]:
    """Names of parts, for :func:`assemble` and for configs, see :func:`densekit.models.listing.list_parts`.

    Raises:
        ConfigError: for an unknown room.
    """
    from densekit.models.listing import list_parts

    return list_parts(room, dims=dims, fits=fits)
