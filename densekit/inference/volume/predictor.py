"""Predicting one scan: preprocess as the checkpoint says, slide the window, go back to the scan's own grid."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densekit.datasets.volume.preprocessing import Preprocessing, SpatialResult
from densekit.datasets.volume.units import suspicions
from densekit.errors import CheckpointError, ConfigError, DataError
from densekit.inference.device import choose_device
from densekit.inference.predictor import Predictor
from densekit.inference.volume.export import Structure, best_labels, measure
from densekit.inference.volume.memory import Halving, peak_mb, place
from densekit.inference.volume.prediction import Prediction
from densekit.inference.volume.reading import files_behind, read_scan
from densekit.io import Geometry
from densekit.ops.sliding_window import minimum, sliding_window_slabs
from densekit.ops.window_settings import WindowSettings
from densekit.package import Checkpoint, load_checkpoint
from densekit.structures.notes import SUSPICIOUS

logger = logging.getLogger("densekit")

Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""


class VolumePredictor(Predictor):
    """A network with the preprocessing it was trained with: scans in, label maps on the scans' own grids out.

    Args:
        model: Windows (b, C, d, h, w) -> logits (b, K, d, h, w); its ``predict_logits`` is used if it has one.
        preprocessing: How a scan becomes network input.
        labels: Class names by label value, the background first.
        settings: How the window slides, or the plain dict of it that a checkpoint keeps.
        device: ``"auto"`` (CUDA if there is any), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        strict: Refuse a scan whose intensities cannot be those of the training, in place of a note.

    Raises:
        ConfigError: if a setting is unknown, would mix up left and right or does not fit the network, or the device is
            not there.
    """

    task = "volume"

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        labels: Sequence[str],
        settings: WindowSettings | Mapping[str, Any],
        device: str | torch.device = "auto",
        *,
        strict: bool = False,
    ):
        self.labels = list(labels)
        self.preprocessing = preprocessing
        self.settings = settings if isinstance(settings, WindowSettings) else WindowSettings.from_dict(settings)
        self.settings.check_labels(self.labels)
        self.settings.check_fixed_size(model)
        self.device = choose_device(device)
        self.strict = strict
        self.model = model.to(self.device).eval()

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path | Checkpoint,
        *,
        device: str | torch.device = "auto",
        overlap: float | None = None,
        batch: int | None = None,
        strict: bool = False,
    ) -> VolumePredictor:
        """Build the network of a checkpoint and predict with the preprocessing and settings stored in it.

        Args:
            checkpoint: ``best.pth`` or another checkpoint written by densekit, or one that is read.
            device: As for the class.
            overlap: Replaces the checkpoint's overlap of neighbouring windows.
            batch: Replaces the checkpoint's number of windows per forward pass.
            strict: As for the class.

        Raises:
            CheckpointError: if it cannot be read, is no network for volumes, or does not fit the architecture it names.
            ConfigError: if a setting cannot be or the device is not there.
        """
        device = choose_device(device)
        checkpoint = load_checkpoint(checkpoint)
        checkpoint.require_task(cls.task)
        asked = {"overlap": overlap, "batch": batch}
        settings = WindowSettings.from_dict(
            {**checkpoint.inference, **{key: value for key, value in asked.items() if value is not None}}
        )
        settings.check_labels(checkpoint.labels)  # before the work of building the network
        try:
            preprocessing = Preprocessing.from_dict(checkpoint.preprocessing)
        except ConfigError as error:
            raise CheckpointError(
                f"{checkpoint.path}: {error}; write the checkpoint again with this version"
            ) from error
        model = checkpoint.build_model()
        predictor = cls(model, preprocessing, checkpoint.labels, settings, device, strict=strict)
        predictor.checkpoint = checkpoint
        return predictor

    def predict(self, source: Any, *, progress: Progress | None = None) -> Prediction:
        """Read and predict one scan.

        Args:
            source: The scan's file, an image of nibabel or SimpleITK, or ``(array, affine)``, see
                :func:`densekit.io.as_volume`; or a list of one of these per channel, in the order of
                ``preprocessing.channels``, None for one that the scan lacks: it is zero for the network.
            progress: Called with (windows done, windows in all).

        Raises:
            DataError: if the scan cannot be read or cannot be what the network expects: NaN, constant, wrong channels.
            CheckpointError: if the network's classes are not those of the label list.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "read"):
            scan = read_scan(source, self.preprocessing.channels)
        prediction = self.predict_array(**vars(scan), progress=progress)
        return replace(prediction, seconds=seconds | prediction.seconds, sources=files_behind(source))

    def predict_array(
        self,
        array: np.ndarray,
        geometry: Geometry,
        *,
        notes: Sequence[str] = (),
        paths: Sequence[Path] = (),
        present: Sequence[bool] | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Predict one scan that was read, and checked by :func:`densekit.inference.volume.reading.join_channels`.

        Args:
            array: Canonical scan (C, D, H, W), in the order of ``preprocessing.channels``.
            geometry: Its grid.
            notes: What was repaired or assumed while reading.
            paths: Its files, one per channel; none if it comes from memory.
            present: Whether it has each channel, see :meth:`label_map`; None: it has all.
            progress: Called with (windows done, windows in all).

        Raises:
            DataError: if it has another number of channels, or the network's scores of it are no numbers; with
                ``strict`` also if its intensities cannot be those of the training.
            CheckpointError: if the network's classes are not those of the label list.
        """
        seconds: dict[str, float] = {}
        lacking = [c for c, there in zip(self.preprocessing.channels, present or (), strict=False) if not there]
        notes = [*notes, *(f"has no channel {channel}: zero for the network, as in training" for channel in lacking)]
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with _timed(seconds, "prepare"):
            prepared = self.preprocessing.spatial(array, geometry.canonical_spacing)
            statistics = self.preprocessing.statistics(prepared.array)
            name = str(paths[0]) if paths else "the scan"
            notes += self._suspicions(prepared.array, present, name)
        with _timed(seconds, "predict"):
            labels = self.label_map(prepared, statistics, name=name, present=present, notes=notes, progress=progress)
        with _timed(seconds, "measure"):
            structures = tuple(measure(labels, self.labels, geometry.voxel_ml if geometry.spacing_known else None))
        return Prediction(
            paths=tuple(paths),
            image=array,
            labels=labels,
            geometry=geometry,
            names=tuple(self.labels),
            structures=structures,
            seconds=seconds,
            peak_mb=peak_mb(self.device),
            notes=(*notes, *_incomplete(structures)),
        )

    def _suspicions(self, array: np.ndarray, present: Sequence[bool] | None, name: str) -> list[str]:
        """Say on the screen, before the long work, that the scan's intensities cannot be those of the training."""
        found = suspicions(array, self.preprocessing, present)
        if found and self.strict:
            reasons = "; ".join(note.removeprefix(SUSPICIOUS) for note in found)
            raise DataError(f"{name}: {reasons} (a note only, without strict)")
        for note in found:
            logger.warning("%s: %s", name, note)
        return found

    def label_map(
        self,
        prepared: SpatialResult,
        statistics: Sequence[Sequence[float]],
        *,
        name: str,
        present: Sequence[bool] | None = None,
        notes: list[str] | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Predict a scan that is on the network's grid; of all ways to a label map this is the one.

        Args:
            prepared: The scan, cropped and resampled, not normalised: integers stay integers until a window is on the
                device.
            statistics: What :meth:`Preprocessing.statistics` returned for it.
            name: What to call the scan in messages.
            present: Whether it has each channel; one that it lacks is zero for the network, as in training.
            notes: Lines are added that say what was done in another way than asked.
            progress: Called with (windows done, windows in all).

        Returns:
            Label map (D, H, W) on the scan's own grid, uint8 (int16 above 256 classes); what preprocessing cropped
            away is background.

        Raises:
            DataError: if the network's scores are NaN or infinite.
            CheckpointError: if the network's classes are not those of the label list.
        """
        notes = [] if notes is None else notes
        absent = [channel for channel, there in enumerate(present or ()) if not there]

        def prepare(window: Tensor) -> Tensor:
            window = self.preprocessing.normalize(window, statistics)
            window[absent] = 0
            return window

        array = torch.from_numpy(prepared.array)
        rows = self.settings.window[0]
        volume, sums_on = place(array, self.device, rows=rows, classes=len(self.labels), notes=notes)
        network = Halving(getattr(self.model, "predict_logits", self.model))
        slabs = sliding_window_slabs(
            volume,
            network,
            self.settings,
            prepare=prepare,
            fill=minimum(volume),
            device=self.device,
            accumulate_on=sums_on,
            progress=progress,
        )
        best = best_labels(self._checked(slabs, name), prepared.cropped_shape, rows=prepared.shape[0]).numpy()
        if network.limit is not None:
            notes.append(f"the accelerator's memory held only {network.limit} windows at a time")
        labels = np.zeros(prepared.shape_before, dtype=best.dtype)
        labels[prepared.region] = best
        return labels

    def _checked(self, slabs: Iterator[Tensor], name: str) -> Iterator[Tensor]:
        for slab in slabs:
            if slab.shape[0] != len(self.labels):
                raise CheckpointError(
                    f"the network scores {slab.shape[0]} classes, but the label list has {len(self.labels)} "
                    f"({', '.join(self.labels[:4])} ...): they do not belong together; write the checkpoint again"
                )
            # A NaN loses every comparison, so it would turn into background without a word.
            if not torch.isfinite(slab.sum()):
                raise DataError(
                    f"{name}: the network's scores are NaN or infinite here; check that the scan's intensities are in "
                    f"the units it was trained on ({', '.join(self.preprocessing.channels)})"
                )
            yield slab


def _incomplete(structures: Sequence[Structure]) -> list[str]:
    cut = [f"{s.name} ({', '.join(s.touches_border)})" for s in structures if s.touches_border]
    return [f"cut off by the border of the scan, so larger than measured: {'; '.join(cut)}"] if cut else []


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
