"""Predicting one scan: read, preprocess as the checkpoint says, slide the window, go back to the scan's own grid."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densekit.datasets.volume.preprocessing import Preprocessing, SpatialResult
from densekit.errors import CheckpointError, ConfigError, DataError, OutputError, close_names
from densekit.inference.device import choose_device
from densekit.inference.predictor import Predictor
from densekit.inference.volume.export import Structure, best_labels, measure, write_checked
from densekit.io import Geometry, check_intensities, read_volume
from densekit.io.staging import publish, staging_folder
from densekit.ops.sliding_window import check_options, minimum, sliding_window_slabs
from densekit.package import Checkpoint, load_checkpoint

DEFAULTS = {
    "overlap": 0.5,
    "batch": 1,
    "weights": "gaussian",
    "mirror_axes": (),
    "mirror_swaps": (),
    "activation": None,
}
SETTINGS = ("window", *DEFAULTS)
"""Keys of a checkpoint's inference settings: arguments of :func:`densekit.ops.sliding_window.sliding_window`."""

_VOLUME_SHARE = 0.25
_SUMS_SHARE = 0.5
"""Shares of the accelerator's free memory that the scan and the running sums may take, else they stay on the host."""


@dataclass(frozen=True)
class Prediction:
    """What was found in one scan.

    Attributes:
        paths: The scan's files, one per channel.
        image: Canonical scan as read, (C, D, H, W).
        labels: Canonical label map (D, H, W) on the scan's own grid.
        geometry: The scan's grid.
        names: Class names by label value, the background first.
        structures: Volume and completeness of every structure, at the scan's resolution.
        seconds: Seconds per stage: read, prepare, predict, measure.
        peak_mb: Peak memory in MB: ``host`` (of the process so far) and, on an accelerator, ``device`` (of this scan).
        notes: What was repaired, assumed or done in another way than asked.
    """

    paths: tuple[Path, ...]
    image: np.ndarray
    labels: np.ndarray
    geometry: Geometry
    names: tuple[str, ...]
    structures: tuple[Structure, ...]
    seconds: dict[str, float]
    peak_mb: dict[str, float]
    notes: tuple[str, ...]

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume in ml by structure name."""
        return {s.name: s.volume_ml for s in self.structures}

    def save(self, path: str | Path) -> None:
        """Write the label map on the scan's grid with the scan's header, and the label names beside it.

        Raises:
            OutputError: if it cannot be written, or the written file is not the prediction on the scan's grid.
        """
        path = Path(path)
        if path.resolve() in {p.resolve() for p in self.paths}:
            raise OutputError(f"{path}: is the scan itself; choose another output path")
        with staging_folder(path.parent) as folder:
            write_checked(folder / path.name, self.labels, self.geometry, like=self.paths[0], names=self.names)
            publish(folder, path.parent, last=path.name)


class VolumePredictor(Predictor):
    """A network with the preprocessing it was trained with: scans in, label maps on the scans' own grids out.

    Args:
        model: Windows (b, C, d, h, w) -> logits (b, K, d, h, w); its ``predict_logits`` is used if it has one.
        preprocessing: How a scan becomes network input.
        labels: Class names by label value, the background first.
        inference: Sliding-window settings, see :data:`SETTINGS`; ``window`` must be there.
        device: ``"auto"`` (CUDA if there is any), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises:
        ConfigError: if a setting is unknown or the device is not there.
    """

    task = "volume"

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        labels: Sequence[str],
        inference: Mapping[str, Any],
        device: str | torch.device = "auto",
    ):
        self.labels = list(labels)
        self.preprocessing = preprocessing
        self.inference = check_settings(inference, self.labels)
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path | Checkpoint,
        *,
        device: str | torch.device = "auto",
        overlap: float | None = None,
        batch: int | None = None,
    ) -> VolumePredictor:
        """Build the network of a checkpoint and predict with the preprocessing and settings stored in it.

        Args:
            checkpoint: ``best.pth`` or another checkpoint written by densekit, or one that is read.
            device: As for the class.
            overlap: Replaces the checkpoint's overlap of neighbouring windows.
            batch: Replaces the checkpoint's number of windows per forward pass.

        Raises:
            CheckpointError: if it cannot be read, is no network for volumes, or does not fit the architecture it names.
            ConfigError: if a setting cannot be or the device is not there.
        """
        device = choose_device(device)
        checkpoint = load_checkpoint(checkpoint)
        checkpoint.require_task(cls.task)
        asked = {"overlap": overlap, "batch": batch}
        inference = {**checkpoint.inference, **{key: value for key, value in asked.items() if value is not None}}
        check_settings(inference, checkpoint.labels)  # before the work of building the network
        try:
            preprocessing = Preprocessing.from_dict(checkpoint.preprocessing)
        except ConfigError as error:
            raise CheckpointError(
                f"{checkpoint.path}: {error}; write the checkpoint again with this version"
            ) from error
        return cls(checkpoint.build_model(), preprocessing, checkpoint.labels, inference, device)

    def predict(
        self, paths: str | Path | Sequence[str | Path], *, progress: Callable[[int, int], None] | None = None
    ) -> Prediction:
        """Predict one scan.

        Args:
            paths: The scan's file, or one file per channel in the order of ``preprocessing.channels``.
            progress: Called with (windows done, windows in all).

        Raises:
            DataError: if the scan cannot be read or cannot be what the network expects: NaN, constant, wrong channels.
            CheckpointError: if the network's classes are not those of the label list.
        """
        paths = (Path(paths),) if isinstance(paths, (str, Path)) else tuple(Path(p) for p in paths)
        seconds: dict[str, float] = {}
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with _timed(seconds, "read"):
            array, geometry, notes = read_scan(paths, self.preprocessing.channels)
        with _timed(seconds, "prepare"):
            prepared = self.preprocessing.spatial(array, geometry.canonical_spacing)
            statistics = self.preprocessing.statistics(prepared.array)
        with _timed(seconds, "predict"):
            labels = self._labels(prepared, statistics, paths[0], progress, notes)
        with _timed(seconds, "measure"):
            structures = tuple(measure(labels, self.labels, geometry.voxel_ml))
        notes += _incomplete(structures)
        return Prediction(
            paths=paths,
            image=array,
            labels=labels,
            geometry=geometry,
            names=tuple(self.labels),
            structures=structures,
            seconds=seconds,
            peak_mb=_peak_mb(self.device),
            notes=tuple(notes),
        )

    def _labels(
        self,
        prepared: SpatialResult,
        statistics: Sequence[Sequence[float]],
        path: Path,
        progress: Callable[[int, int], None] | None,
        notes: list[str],
    ) -> np.ndarray:
        """Label map (D, H, W) on the scan's grid; what preprocessing cropped away is background."""
        volume, sums_on = self._place(torch.from_numpy(prepared.array), notes)
        settings = dict(self.inference)
        network = _Halving(getattr(self.model, "predict_logits", self.model))
        slabs = sliding_window_slabs(
            volume,
            network,
            settings.pop("window"),
            prepare=lambda window: self.preprocessing.normalize(window, statistics),
            fill=minimum(volume),
            device=self.device,
            accumulate_on=sums_on,
            progress=progress,
            **settings,
        )
        best = best_labels(self._checked(slabs, path), prepared.cropped_shape, rows=prepared.shape[0]).numpy()
        if network.limit is not None:
            notes.append(f"the accelerator's memory held only {network.limit} windows at a time")
        labels = np.zeros(prepared.shape_before, dtype=best.dtype)
        labels[prepared.region] = best
        return labels

    def _place(self, volume: Tensor, notes: list[str]) -> tuple[Tensor, torch.device]:
        """Decide what lies on the accelerator: the scan if it is small there, the sums unless they would fill it."""
        if self.device.type != "cuda":
            return volume, self.device
        if volume.dtype in (torch.uint16, torch.uint32):  # few operations know these on an accelerator
            volume = volume.to(torch.int32 if volume.dtype is torch.uint16 else torch.int64)
        free, _ = torch.cuda.mem_get_info(self.device)
        if volume.numel() * volume.element_size() < _VOLUME_SHARE * free:
            volume = volume.to(self.device)
        rows, plane = self.inference["window"][0], volume.shape[2] * volume.shape[3]
        sums = 2 * 4 * (len(self.labels) + 1) * rows * plane  # float32, and the finished rows beside them
        if sums <= _SUMS_SHARE * free:
            return volume, self.device
        notes.append(f"scores are summed on the host: {sums / 2**30:.1f} GiB would not fit the accelerator")
        return volume, torch.device("cpu")

    def _checked(self, slabs: Iterator[Tensor], path: Path) -> Iterator[Tensor]:
        for slab in slabs:
            if slab.shape[0] != len(self.labels):
                raise CheckpointError(
                    f"the network scores {slab.shape[0]} classes, but the label list has {len(self.labels)} "
                    f"({', '.join(self.labels[:4])} ...): they do not belong together; write the checkpoint again"
                )
            # A NaN loses every comparison, so it would turn into background without a word.
            if not torch.isfinite(slab.sum()):
                raise DataError(
                    f"{path}: the network's scores are NaN or infinite here; check that the scan's intensities are in "
                    f"the units it was trained on ({', '.join(self.preprocessing.channels)})"
                )
            yield slab


class _Halving:
    """A network that halves its batch when the accelerator runs out of memory, and remembers what fitted."""

    def __init__(self, network: Callable[[Tensor], Tensor]):
        self.network = network
        self.limit: int | None = None

    def __call__(self, windows: Tensor) -> Tensor:
        while True:
            size = min(self.limit or len(windows), len(windows))
            try:
                return torch.cat([self.network(part) for part in windows.split(size)])
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                self.limit = size // 2
            torch.cuda.empty_cache()  # outside the handler: the exception's frames hold on to tensors


def check_settings(inference: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Check and complete sliding-window settings, and see that a left-right mirror knows which labels trade places.

    Raises:
        ConfigError: if a key is unknown, the window is missing, a value cannot be, or left and right would be mixed up.
    """
    for key in inference:
        if key not in SETTINGS:
            raise ConfigError(
                f"inference: unknown setting {key!r}{close_names(key, SETTINGS)}, known: {', '.join(SETTINGS)}"
            )
    if "window" not in inference:
        raise ConfigError("inference: the setting 'window' (d, h, w) is missing")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in inference.items()}
    settings = {"window": given["window"], **DEFAULTS, **given}
    if 2 in settings["mirror_axes"] and "mirror_swaps" not in given:
        sided = [
            (label, labels.index(name.replace("left", "right")))
            for label, name in enumerate(labels)
            if "left" in name and name.replace("left", "right") in labels
        ]
        if sided:
            raise ConfigError(
                f"inference: mirror_axes has the left-right axis 2, but nothing says which labels trade places; "
                f"add mirror_swaps={sided}"
            )
    check_options(**settings)
    return settings


def read_scan(paths: Sequence[Path], channels: Sequence[str]) -> tuple[np.ndarray, Geometry, list[str]]:
    """Read the files of one scan and check that they can be predicted.

    Returns:
        Canonical array (C, D, H, W), the common grid, notes.

    Raises:
        DataError: wrong number of channels, different grids, NaN, infinite or constant intensities.
    """
    volumes = [read_volume(path) for path in paths]
    found = sum(volume.array.shape[0] for volume in volumes)
    if found != len(channels):
        raise DataError(
            f"{paths[0]}: {found} image channel{'s' * (found > 1)} given, the network expects {len(channels)} "
            f"({', '.join(channels)}); give one file per channel, named <case>_0000, <case>_0001 ..."
        )
    for volume in volumes:
        difference = volume.geometry.difference(volumes[0].geometry)
        if difference is not None:
            raise DataError(
                f"{volume.path}: lies on another grid than {volumes[0].path.name}: {difference}; resample one to "
                f"the other"
            )
        check_intensities(volume)
    array = volumes[0].array if len(volumes) == 1 else np.concatenate([volume.array for volume in volumes])
    return array, volumes[0].geometry, [note for volume in volumes for note in volume.notes]


def _incomplete(structures: Sequence[Structure]) -> list[str]:
    cut = [f"{s.name} ({', '.join(s.touches_border)})" for s in structures if s.touches_border]
    return [f"cut off by the border of the scan, so larger than measured: {'; '.join(cut)}"] if cut else []


def _peak_mb(device: torch.device) -> dict[str, float]:
    peak = {}
    if sys.platform != "win32":  # the module does not exist there
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        peak["host"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
    if device.type == "cuda":
        peak["device"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return peak


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
