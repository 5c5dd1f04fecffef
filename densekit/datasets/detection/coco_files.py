"""Which COCO JSON files a data set has: COCO's own folders, one export beside its images, or one a split (Roboflow)."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from densekit.datasets.detection import coco
from densekit.datasets.detection.draft import DetectionSource, Part
from densekit.datasets.shared.image_files import subfolders
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import DataError, few
from densekit.io.files import load_json

_KEYPOINTS = "person_keypoints_"
_OTHER_TASKS = (_KEYPOINTS, "captions_", "panoptic_", "stuff_", "image_info_")
_KEYS = re.compile(rb'"(images|annotations)"\s*:')  # other tools' JSON has categories and info as well
_HEAD = 1 << 20


def find(root: Path) -> DetectionSource | None:
    """Look for COCO JSON files in ``root``, in its ``annotations`` and in its folders called like splits.

    Raises:
        DataError: if two files are for the same split, or one that belongs to them cannot be read.
    """
    candidates = _json_files(root)
    files = [file for file in candidates if _looks_like_coco(file)]
    official = [file for file in files if file.name.startswith("instances_")]
    files = (
        official
        or [file for file in files if not file.name.startswith(_OTHER_TASKS)]
        or [file for file in files if file.name.startswith(_KEYPOINTS)]
    )
    if not files:
        return None
    _refuse_unreadable(files, candidates)
    return _source(root, files)


def _json_files(root: Path) -> list[Path]:
    folders = [root, root / "annotations", *(f for f in subfolders(root) if split_of(f.name))]
    return [file for folder in folders for file in sorted(folder.glob("*.json"))]


def find_file(path: Path) -> DetectionSource | None:
    """Take one JSON file, with the files of the other splits beside it that are called alike.

    Raises:
        DataError: if one of these cannot be read.
    """
    if not _looks_like_coco(path):
        load_json(path)  # which says why, if it is no JSON at all
        return None
    root = path.parent.parent if path.parent.name.lower() == "annotations" else path.parent
    alike = [path]
    if split_of(path.stem):
        alike += [file for file in sorted(path.parent.glob("*.json")) if file != path and _called_alike(path, file)]
    elif split_of(path.parent.name):
        root = path.parent.parent
        others = (f / path.name for f in subfolders(root) if split_of(f.name) and f != path.parent)
        alike += [file for file in others if os.path.lexists(file)]
    _refuse_unreadable([path], alike)
    return _source(root, alike)


def unreadable(root: Path) -> str:
    """Say which JSON file, of those that lie where COCO's lie, cannot be read, and why; "" if there is none."""
    return next((why for file in _json_files(root) if (why := _why_no_object(file))), "")


def _refuse_unreadable(files: Sequence[Path], candidates: Sequence[Path]) -> None:
    """Refuse what lies among COCO files and is no JSON object, or is called like one of them and has no images."""
    for file in candidates:
        if file in files or file.name.startswith(_OTHER_TASKS):
            continue
        alike = file.name.startswith("instances_") or any(_called_alike(known, file) for known in files)
        if alike and not _looks_like_coco(file):
            coco.load(file)
        elif not alike and (why := _why_no_object(file)):
            raise DataError(why)


def _called_alike(file: Path, other: Path) -> bool:
    """Whether two files are called alike but for the split, in their own names or in those of their folders."""
    if split_of(file.stem) and split_of(other.stem):
        return _without_split(file.stem) == _without_split(other.stem)
    return file.name == other.name and bool(split_of(file.parent.name) and split_of(other.parent.name))


def _why_no_object(path: Path) -> str:
    """Say why a file that is no JSON from its beginning on cannot be read; "" if it does."""
    if _head(path)[:1] in (b"{", b"[", b"/"):  # other programs' settings begin with a comment
        return ""
    try:
        load_json(path)
    except DataError as error:
        return str(error)
    return ""


def _without_split(stem: str) -> str:
    return "".join(word for word in re.findall("[a-z]+|[^a-z]+", stem.lower()) if not split_of(word))


def _source(root: Path, files: Sequence[Path]) -> DetectionSource:
    parts = [Part(split_of(f.stem) or (split_of(f.parent.name) if f.parent != root else None), f) for f in files]
    notes = []
    named = [part for part in parts if part.split]
    if named and len(named) < len(parts):
        left = few(part.path.relative_to(root) for part in parts if not part.split)
        notes.append(f"left aside, since the names of other files say their split and these do not: {left}")
        parts = named
    for split, count in Counter(part.split for part in parts).items():
        if count > 1:
            names = few(part.path.relative_to(root) for part in parts if part.split == split)
            what = f"for {split}" if split else "whose names do not say which split they are for"
            raise DataError(
                f"{root}: {count} COCO files {what} ({names}); give the path of the one you mean, "
                f"or move the others elsewhere"
            )
    words = few(f"{part.path.relative_to(root).as_posix()} ({part.split or 'all images'})" for part in parts)
    return DetectionSource("coco", root, f"COCO JSON: {words}", tuple(parts), coco.read, notes=tuple(notes))


def _looks_like_coco(path: Path) -> bool:
    head = _head(path)
    if not head.startswith(b"{"):
        return False
    # A long list of categories, as LVIS has, may stand before the keys that tell.
    return _KEYS.search(head) is not None or (len(head) > _HEAD // 2 and _KEYS.search(path.read_bytes()) is not None)


def _head(path: Path) -> bytes:
    """Return the beginning of a file without byte order mark and spaces, nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).lstrip(b"\xef\xbb\xbf \r\n\t")
    except OSError:
        return b""
