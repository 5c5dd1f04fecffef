"""What predictors and their results have in common, whatever the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image

from densekit.io import atomic_path
from densekit.package import Checkpoint


class Result(ABC):
    """What was predicted for one input.

    Attributes:
        notes: What was repaired, assumed or done in another way than asked.
        seconds: Seconds per stage.
    """

    notes: tuple[str, ...]
    seconds: dict[str, float]

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write it to a file; the suffix says the format.

        Raises:
            OutputError: if it cannot be written.
        """

    @abstractmethod
    def draw(self, path: str | Path | None = None) -> Image.Image:
        """Draw it on its input; with a path the picture is written there too."""

    @staticmethod
    def _drawn(picture: Image.Image, path: str | Path | None) -> Image.Image:
        """The picture, written by rename where there is a path; its suffix says the format, any other than Pillow's is
        PNG."""
        if path is not None:
            with atomic_path(path) as temporary:
                picture.save(temporary, format=Image.registered_extensions().get(Path(path).suffix.lower(), "PNG"))
        return picture

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """It in plain values, as JSON can hold them; no arrays of the input's size."""


class Predictor(ABC):
    """The network of a checkpoint, ready to predict one input after the other.

    Attributes:
        labels: Class names by label value.
        device: Where it computes.
    """

    task: ClassVar[str]
    """The task whose checkpoints it predicts with."""
    labels: Sequence[str]
    device: torch.device

    @classmethod
    @abstractmethod
    def from_checkpoint(
        cls, checkpoint: str | Path | Checkpoint, *, device: str | torch.device = "auto", **options: Any
    ) -> Predictor:
        """Build it with what the checkpoint carries.

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
