"""Which pictures and videos to predict, under which names, and whether the checkpoint is for them at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from densekit.datasets.shared.image_files import IMAGE_SUFFIXES
from densekit.errors import DataError
from densekit.inference.inputs import VOLUMES, Case, Wanted, expand, unique_names
from densekit.inference.task import DOES

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv"})

_NAMED = ".jpg .jpeg .png .bmp .tif .tiff .webp"


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


PICTURES = Wanted(
    f"picture ({_NAMED}) or video (.mp4 .avi .mov .mkv)",
    lambda path: _is_picture(path) or _is_video(path),
    "give the folder that holds them",
)


@dataclass(frozen=True)
class PictureCase(Case):
    """One picture or video to predict.

    Attributes:
        id: Name of its outputs.
        paths: Its one file.
    """

    kind: ClassVar[str] = "file"

    @property
    def path(self) -> Path:
        """The file."""
        return self.paths[0]

    @property
    def is_video(self) -> bool:
        """Whether it is predicted frame by frame."""
        return _is_video(self.path)

    @property
    def output_name(self) -> str:
        """What was found, as a file in the output folder."""
        return f"videos/{self.id}.csv" if self.is_video else f"detections/{self.id}.json"

    @property
    def output_names(self) -> tuple[str, ...]:
        """All files it may write. What a video's is depends on what OpenCV can write."""
        if self.is_video:
            return (*(f"videos/{self.id}{suffix}" for suffix in (".mp4", ".avi", ".jpg")), self.output_name)
        return (f"pictures/{self.id}.jpg", self.output_name)

    def check_suffix(self) -> None:
        """Check that the file is of a kind that is read, by its name.

        Raises:
            DataError: if it is not.
        """
        if PICTURES.is_one(self.path):
            return
        suffix = self.path.suffix.lower()
        remedy = "leave it out, or save it as one of these"
        if suffix == ".gif":
            remedy = "a GIF may be an animation: save its picture as .png, or all of it as .mp4"
        raise DataError(f"{self.path}: {suffix or 'no suffix'}, expected a {PICTURES.name}; {remedy}")


def find_pictures(inputs: Sequence[str | Path], *, out: Path) -> list[PictureCase]:
    """Find the pictures and videos that are meant.

    A folder stands for the files directly in it, a glob (``"images/**/*"``) for all that match. Two files of one name
    in different folders get the names of their folders in front; two in one folder (``a.jpg``, ``a.png``) are named
    with their suffix (``a.jpg``, ``a.png``).

    Args:
        inputs: Files, folders, globs.
        out: Output folder; a glob does not find what lies in it.

    Raises:
        DataError: if an input does not exist or holds nothing to predict, or names cannot be told apart.
    """
    files = {file.resolve(): file for item in inputs for file in expand(Path(item).expanduser(), out, PICTURES)}
    places = [(file.parent.resolve(), file) for file in files.values()]
    stems = Counter((folder, file.stem.lower()) for folder, file in places)
    names = unique_names(
        [(folder, file.name if stems[folder, file.stem.lower()] > 1 else file.stem) for folder, file in places]
    )
    return [PictureCase(name, (path,)) for name, path in zip(names, files.values(), strict=True)]


def check_inputs_fit(task: str, inputs: Sequence[str | Path], *, checkpoint: str | Path) -> None:
    """Check, before any work, that no volume is given to a detector and no picture to a network for volumes.

    An input is taken by its suffix; a folder by what lies directly in it, and only if nothing of the right kind does.

    Args:
        task: The checkpoint's, ``"volume"`` or ``"detection"``.
        inputs: Files, folders, globs; what does not exist is not looked at.
        checkpoint: Its path, for the message.

    Raises:
        DataError: naming the first input of the other kind.
    """
    detects = task == "detection"
    wanted, other = (PICTURES, VOLUMES) if detects else (VOLUMES, PICTURES)
    for item in inputs:
        path = Path(item).expanduser()
        files = [file for file in path.iterdir() if file.name[0] != "."] if path.is_dir() else [path]
        wrong = next((file for file in sorted(files) if other.is_one(file)), None)
        if wrong is None or any(wanted.is_one(file) for file in files):
            continue
        is_now = "a volume" if detects else "a video" if _is_video(wrong) else "a picture"
        raise DataError(
            f"{wrong}: {is_now}, but {checkpoint} {DOES[task]}; give a {wanted.name}, or another checkpoint"
        )
