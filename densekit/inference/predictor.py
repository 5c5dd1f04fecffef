"""What predictors and their results have in common, whatever the task."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image

from densekit.errors import OutputError
from densekit.io import atomic_path
from densekit.package import Checkpoint


class Result(ABC):
    """What was predicted for one input.

    Attributes:
        notes: What was repaired, assumed or done in another way than asked.
        seconds: Seconds per stage.
        sources: Files it was predicted from; none if the input was in memory alone.
    """

    notes: tuple[str, ...]
    seconds: dict[str, float]
    sources: tuple[Path, ...]

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write it to a file; the suffix says the format.

        Raises:
            OutputError: if it cannot be written.
        """

    @abstractmethod
    def draw(self, path: str | Path | None = None) -> Image.Image:
        """Draw it on its input; with a path the picture is written there too."""

    def _target(self, path: str | Path) -> Path:
        """Where something of it may be written.

        Raises:
            OutputError: if that is no path, or a file it was predicted from.
        """
        if not isinstance(path, (str, os.PathLike)) or not str(path):
            raise OutputError(f"{path!r} is no path; give the file to write")
        path = Path(path)
        if path.resolve() in {source.resolve() for source in self.sources}:
            raise OutputError(f"{path}: is what was predicted itself; choose another output path")
        return path

    def _drawn(self, picture: Image.Image, path: str | Path | None) -> Image.Image:
        """The picture, written by rename where there is a path; its suffix says the format."""
        if path is None:
            return picture
        path = self._target(path)
        kind = Image.registered_extensions().get(path.suffix.lower())
        if kind not in Image.SAVE:
            raise OutputError(f"{path}: {path.suffix or 'no suffix'} is no format of a picture; take .png or .jpg")
        with atomic_path(path) as temporary:
            picture.save(temporary, format=kind)
        return picture

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """It in plain values, as JSON can hold them; no arrays of the input's size."""


class Predictor(ABC):
    """The network of a checkpoint, ready to predict one input after the other.

    Attributes:
        labels: Class names by label value.
        device: Where it computes.
        checkpoint: What it was built from; None for one built by hand.
    """

    task: ClassVar[str]
    """The task whose checkpoints it predicts with."""
    labels: Sequence[str]
    device: torch.device
    checkpoint: Checkpoint | None = None

    @classmethod
    @abstractmethod
    def from_checkpoint(
        cls, checkpoint: str | Path | Checkpoint, *, device: str | torch.device = "auto", **options: Any
    ) -> Predictor:
        """Build it with what the checkpoint carries, and note the :attr:`checkpoint`.

        Raises:
            CheckpointError: if it cannot be read, is of another task, or does not fit the architecture it names.
            ConfigError: if an option cannot be or the device is not there.
        """

    @abstractmethod
    def predict(self, source: Any, **options: Any) -> Result:
        """Predict one input: a file, or what is in memory already.

        Raises:
            DataError: if it cannot be read, or cannot be what the network expects.
        """
