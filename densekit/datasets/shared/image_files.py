"""The files of a data set: which there are, what their headers say, and whether any changed since the last look."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from densekit.datasets.shared.image_splits import split_of
from densekit.io.images import TAIL, orientation_of, why_cut_short

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_DESCRIBING = frozenset({".json", ".xml", ".txt", ".yaml", ".yml", ".csv", ".names", ".labels"})


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return f".{name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES


def list_tree(root: Path) -> dict[str, tuple[int, int]]:
    """Return size and modification time (ns) of the images and annotation files below ``root``, by POSIX path.

    Hidden files and folders are skipped, links to folders are followed (once: a loop ends).
    """
    found: dict[str, tuple[int, int]] = {}
    seen: set[tuple[int, int]] = set()
    folders = [(str(root), "")]
    while folders:
        folder, prefix = folders.pop()
        try:
            identity = os.stat(folder)  # noqa: PTH116  (a Path for each of 100,000 files would cost seconds)
            entries = list(os.scandir(folder))
        except OSError:
            continue  # what cannot be listed is as good as absent; files in it are reported as missing
        if (identity.st_dev, identity.st_ino) in seen:
            continue
        seen.add((identity.st_dev, identity.st_ino))
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append((entry.path, f"{prefix}{entry.name}/"))
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES | _DESCRIBING:  # noqa: PTH122
                try:
                    status = entry.stat()
                except OSError:
                    continue  # a dangling link
                found[prefix + entry.name] = (status.st_size, status.st_mtime_ns)
    return found


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in ``folder``, sorted; hidden ones are skipped.

    Among 100,000 files the few folders are found without asking the file system about each of them.
    """
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def fingerprint(folders: Iterable[Path]) -> str:
    """Return a hash of the names, sizes and modification times of all images and annotation files in ``folders``."""
    digest = hashlib.blake2b(digest_size=16)
    for folder in sorted(set(folders)):
        digest.update(f"{folder}\n".encode("utf-8", "surrogateescape"))
        for name, (size, modified) in sorted(list_tree(folder).items()):
            digest.update(f"{name}\t{size}\t{modified}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


class ImageIndex:
    """The images below a folder, to find the files that annotations mean by their names.

    Args:
        root: The folder. Paths given and returned are relative to it, in POSIX form.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {name for name in list_tree(root) if is_image(name)}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self.folders: set[str] = {""}
        for file in sorted(self.files):
            folder, _, name = file.rpartition("/")
            self._by_name[name].append(file)
            self._by_stem[name.rpartition(".")[0]].append(file)
            while folder not in self.folders:
                self.folders.add(folder)
                folder = folder.rpartition("/")[0]

    def locate(self, names: Sequence[str], *, beside: str, split: str | None) -> list[str | None]:
        """Find the file of each name that an annotation file lists.

        Names are tried below the annotation file's own folder, then below folders called like the split, then below
        the folder that has most of them; what is left is looked up by its bare name, if only one file has it. Folders
        that belong to another split are not looked into.

        Args:
            names: As the annotations give them; backslashes and a leading ``./`` or ``/`` are understood.
            beside: Folder of the annotation file.
            split: Split of the annotation file, None if it is not known.

        Returns:
            For each name the file, or None.
        """
        cleaned = [name.replace("\\", "/").removeprefix("./").lstrip("/") for name in names]
        allowed = [f for f in self.folders if split is None or split_of(f) in (None, split)]
        sample = cleaned[:: max(1, len(cleaned) // 200)]
        hits = {f: sum(_join(f, name) in self.files for name in sample) for f in allowed}
        if not any(hits.values()):  # nothing speaks for the names of the folders: look everywhere
            allowed = list(self.folders)
            hits = {f: sum(_join(f, name) in self.files for name in sample) for f in allowed}

        def rank(folder: str) -> tuple:
            enough = 2 * hits[folder] >= len(sample)
            own = folder == beside
            named = split is not None and split_of(folder) == split
            return (not (enough and own), not (enough and named), -hits[folder], folder.count("/"), folder)

        order = sorted((f for f in allowed if hits[f]), key=rank)
        return [self._locate_one(name, order, set(allowed)) for name in cleaned]

    def _locate_one(self, name: str, order: Sequence[str], allowed: set[str]) -> str | None:
        for folder in order:
            if (file := _join(folder, name)) in self.files:
                return file
        return self._only(self._by_name.get(name.rpartition("/")[2], []), allowed)

    def by_stem(self, stem: str, folders: Sequence[str]) -> str | None:
        """Find the image called ``stem`` with any image suffix in the first of ``folders`` that has one."""
        found = self._by_stem.get(stem.rpartition("/")[2], [])
        for folder in folders:
            for file in found:
                if file.rpartition(".")[0] == _join(folder, stem):
                    return file
        return None

    @staticmethod
    def _only(files: list[str], allowed: set[str]) -> str | None:
        files = [f for f in files if f.rpartition("/")[0] in allowed]
        return files[0] if len(files) == 1 else None


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


class Header(NamedTuple):
    """What is known of an image file from its header and its end.

    Attributes:
        width: Pixels, as the image is shown (after EXIF rotation); 0 if the file cannot be opened.
        height: As ``width``.
        mode: Pillow's mode (``"RGB"``, ``"L"``, ``"I;16"`` ...).
        orientation: EXIF orientation, 1 for upright.
        size: Bytes of the file.
        tail: Hash of the end of the file: files of the same size and tail are candidates for being the same.
        whole: False for a JPEG or PNG that is cut short (:func:`~densekit.io.images.why_cut_short`).
        problem: Why the file cannot be opened, or "".
    """

    width: int
    height: int
    mode: str
    orientation: int
    size: int
    tail: bytes
    whole: bool
    problem: str


def read_headers(paths: Sequence[str], *, workers: int = 8) -> list[Header | None]:
    """Read the headers of image files in threads.

    Args:
        paths: The files.
        workers: Threads; disks and network shares answer many at a time.

    Returns:
        One per path; None for a file that is not there.
    """
    # In chunks: a task for each of 100,000 files would cost more than reading its header.
    chunks = [paths[i : i + 256] for i in range(0, len(paths), 256)]
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only headers are read
        return [header for chunk in pool.map(_read_chunk, chunks) for header in chunk]


def _read_chunk(paths: Sequence[str]) -> list[Header | None]:
    return [_read_header(path) for path in paths]


def _read_header(path: str) -> Header | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return _parse_header(file)
    except FileNotFoundError:
        return None
    except Image.DecompressionBombError:
        return Header(0, 0, "", 1, 0, b"", True, "more than 179 million pixels: cut it into tiles")
    except (OSError, ValueError, SyntaxError) as error:
        reason = "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        return Header(0, 0, "", 1, 0, b"", True, reason)


def _parse_header(file: BinaryIO) -> Header:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    tail = file.read()
    file.seek(0)
    if size == 0:
        return Header(0, 0, "", 1, 0, b"", True, "the file is empty")
    with Image.open(file) as image:
        width, height = image.size
        orientation = 1
        if "exif" in image.info:
            orientation = orientation_of(image)
        if orientation in (5, 6, 7, 8):
            width, height = height, width
        whole = not why_cut_short(image, tail)
        return Header(
            width, height, image.mode, orientation, size, hashlib.blake2b(tail, digest_size=16).digest(), whole, ""
        )
