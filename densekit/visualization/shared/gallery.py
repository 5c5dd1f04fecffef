"""What reports of runs over images have in common: a row for each file, notes, and small pictures in a gallery."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from PIL import Image

from densekit.errors import few
from densekit.visualization.shared.thumbnails import data_uri

TILE = (440, 330)
"""Width and height of a picture in the gallery, at most."""
SHOWN = 120
"""Pictures in a gallery: the page stays small enough to be sent by mail."""
NAMED = 5
"""Files named at a note, classes named below a picture."""

T = TypeVar("T")


@dataclass(frozen=True)
class FileRow:
    """What a report says about one image or video, whatever was predicted.

    Attributes:
        name: File name, with as many folders as tell it apart.
        status: ``"ok"`` or ``"failed"``.
        reason: Why it failed, in one line; None if it did not.
        frames: Frames of a video, None for an image.
        notes: How the file was read, where that is not obvious.
        seconds: How long it took.
        link: Path of the drawn picture or video from the report, POSIX.
        thumbnail: Returns the small drawn picture, None if it cannot be made; called for those that are shown.
    """

    name: str
    status: Literal["ok", "failed"]
    reason: str | None = None
    frames: int | None = None
    notes: Sequence[str] = ()
    seconds: float = 0.0
    link: str = ""
    thumbnail: Callable[[], Image.Image | None] = lambda: None


def failures(rows: Sequence[FileRow]) -> list[dict[str, Any]]:
    """The files that failed, as pages show them."""
    return [{"id": row.name, "reason": _reason(row), "notes": row.notes} for row in rows if row.status == "failed"]


def _reason(row: FileRow) -> str:
    """Why a file failed, without its name, which stands before it."""
    reason = row.reason or "no reason was given"
    file, _, rest = reason.partition(": ")
    return rest if rest and file.endswith(row.name) else reason


def file_notes(done: Sequence[FileRow]) -> list[str]:
    """Each note once, with how many files it is about and the first of them."""
    files: dict[str, list[str]] = defaultdict(list)
    for image in done:
        for note in image.notes:
            files[note].append(image.name)
    sentences = []
    for note, names in files.items():
        counted = f"{len(names):,} files, " if len(names) > 1 else ""
        sentences.append(f"{note[:1].upper()}{note[1:]} ({counted}{few(names, NAMED)})")
    return sentences


def tile(row: FileRow, words: str) -> dict[str, Any]:
    """A picture of the gallery with its caption."""
    small, name = row.thumbnail(), row.name.rpartition("/")[2]
    return {
        "data": None if small is None else data_uri(small),
        "name": row.name,
        "short": name if len(name) <= 36 else f"{name[:16]}…{name[-16:]}",
        "words": words,
        "link": quote(row.link.encode("utf-8", "surrogateescape")),
    }


def heading(shown: int, done: int, words: str) -> str:
    """Above the gallery."""
    return words if shown == done else f"{shown} of {done:,} files, evenly chosen"


def evenly(items: Sequence[T]) -> list[T]:
    """The items, or :data:`SHOWN` of them, spread over all."""
    if len(items) <= SHOWN:
        return list(items)
    return [items[i * len(items) // SHOWN] for i in range(SHOWN)]


def setting_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings as a page shows them."""
    return [(name, _words(value)) for name, value in settings.items()]


def _words(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "; ".join(_words(item) for item in value) if isinstance(value, (list, tuple)) else str(value)
