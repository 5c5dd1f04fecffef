"""Images to predict: which files, what is predicted of one, and the network that does it."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from densekit.datasets.shared.image_files import IMAGE_SUFFIXES
from densekit.errors import ConfigError, DataError, OutputError
from densekit.inference.inputs import IMAGES, Case, expand, is_video, place, unique_names
from densekit.inference.predictor import Predictor, Result
from densekit.io import write_json_atomic
from densekit.io.depth import Ranges
from densekit.io.images import LoadedImage, as_image


@dataclass(frozen=True)
class ImageCase(Case):
    """One image or video to predict.

    Attributes:
        id: Name of its outputs.
        paths: Its one file.
        folder: Folder of the results of images, below the output folder.
    """

    folder: str = "results"

    @property
    def path(self) -> Path:
        """The file."""
        return self.paths[0]

    @property
    def is_video(self) -> bool:
        """Whether it is predicted frame by frame."""
        return is_video(self.path)

    @property
    def output_name(self) -> str:
        """What was found, as a file in the output folder."""
        return f"videos/{self.id}.csv" if self.is_video else f"{self.folder}/{self.id}.json"

    @property
    def output_names(self) -> tuple[str, ...]:
        """All files it may write. What a video's is depends on the encoders that are there."""
        if self.is_video:
            return (*(f"videos/{self.id}{suffix}" for suffix in (".mp4", ".avi", ".jpg")), self.output_name)
        return (f"pictures/{self.id}.jpg", self.output_name)

    def check_suffix(self) -> None:
        """Check that the file is of a kind that is read, by its name.

        Raises:
            DataError: if it is not.
        """
        if IMAGES.is_one(self.path):
            return
        suffix = self.path.suffix.lower()
        remedy = "leave it out, or save it as one of these"
        if suffix == ".gif":
            remedy = "a GIF may be an animation: save its first frame as .png, or all of it as .mp4"
        raise DataError(f"{self.path}: {suffix or 'no suffix'}, expected a {IMAGES.name}; {remedy}")


def find_images(
    inputs: Sequence[str | Path], *, out: Path, folder: str = "results", kind: type[ImageCase] = ImageCase
) -> list[ImageCase]:
    """Find the images and videos that are meant.

    A folder stands for the files directly in it, a glob (``"images/**/*"``) for all that match. Two files of one name
    in different folders get the names of their folders in front; two in one folder (``a.jpg``, ``a.png``) are named
    with their suffix (``a.jpg``, ``a.png``).

    Args:
        inputs: Files, folders, globs.
        out: Output folder; a glob does not find what lies in it.
        folder: See :class:`ImageCase`.
        kind: What a case is made as.

    Raises:
        DataError: if an input does not exist or holds nothing to predict.
    """
    files = {place(file): file for item in inputs for file in expand(Path(item).expanduser(), out, IMAGES)}
    places = [(file.parent.resolve(), file) for file in files.values()]
    stems = Counter((folder, file.stem.lower()) for folder, file in places)
    names = unique_names(
        [(folder, file.name if stems[folder, file.stem.lower()] > 1 else file.stem) for folder, file in places]
    )
    return [kind(name, (path,), folder) for name, path in zip(names, files.values(), strict=True)]


class ImageResult(Result):
    """What was predicted for one image.

    Attributes:
        image: The image; None for a result without it.
    """

    image: LoadedImage | None

    @property
    def sources(self) -> tuple[Path, ...]:
        return () if self.image is None or self.image.path is None else (self.image.path,)

    @abstractmethod
    def draw_on(self, image: Image.Image, *, size: tuple[int, int] | None = None) -> Image.Image:
        """Draw it on the upright image in RGB.

        Args:
            image: The image.
            size: Width and height of the picture, at most; None: as the image is.
        """

    def draw(self, path: str | Path | None = None, *, size: tuple[int, int] | None = None) -> Image.Image:
        """Draw it on its image; see :meth:`draw_on`.

        Args:
            path: Write the picture there too, by rename.
            size: As for :meth:`draw_on`.

        Raises:
            ConfigError: for a size that is not two whole numbers from 1 on.
            OutputError: if it cannot be written.
        """
        if size is not None and not (isinstance(size, Sequence) and len(size) == 2 and all(_is_count(n) for n in size)):
            raise ConfigError(f"size={size!r}: expected width and height in pixels, e.g. (800, 600)")
        return self._drawn(self.draw_on(self.image.rgb(), size=size), path)

    def save(self, path: str | Path) -> None:
        """Write it as JSON, or with the suffix of an image drawn on its image.

        Raises:
            OutputError: if it cannot be written.
        """
        path = self._target(path)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            self.draw(path)
        elif path.suffix.lower() == ".json":
            write_json_atomic(path, self.to_dict())
        else:
            raise OutputError(f"{path}: {path.suffix or 'no suffix'}, expected .json, or .png or .jpg for a picture")


def _is_count(number: Any) -> bool:
    return isinstance(number, Integral) and number > 0


class ImagePredictor(Predictor):
    """A network that predicts images.

    Attributes:
        ranges: Of the training's images of more than 8 bits, see :mod:`densekit.io.depth`; None: not known.
        pipeline: Configs of the transforms that :meth:`prepare` applies.
    """

    ranges: Ranges | None = None
    pipeline: Sequence[Any] = ()

    def predict(self, source: LoadedImage | np.ndarray | Image.Image | str | Path, **options: Any) -> ImageResult:
        """Predict one image.

        Args:
            source: A file, an array ``(H, W, 3)`` uint8 in RGB (not OpenCV's BGR) or ``(H, W)`` in grey, or Pillow's
                image. EXIF's orientation is applied.
            **options: None here.

        Raises:
            DataError: if it cannot be read or brought to 8 bits, or the network's results are NaN.
        """
        image = self.load(source)
        return self.predict_prepared(self.prepare(image), image)

    def load(self, source: Any) -> LoadedImage:
        """Read an image, or bring what is in memory to the form that is predicted.

        Raises:
            DataError: as :meth:`predict`.
        """
        return as_image(source, self.ranges)

    @abstractmethod
    def prepare(self, image: LoadedImage) -> dict[str, Any]:
        """Bring an image to what the network takes; done ahead, in a thread of its own.

        Raises:
            DataError: if that is not possible.
        """

    @abstractmethod
    def predict_prepared(self, data: dict[str, Any], image: LoadedImage) -> ImageResult:
        """Run the network on what :meth:`prepare` returned for an image."""
