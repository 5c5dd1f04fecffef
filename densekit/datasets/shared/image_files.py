"""The files of a data set: which there are, what their headers say, and whether any changed since the last look."""

from __future__ import annotations

import filecmp
import hashlib
import os
import stat
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from densekit.datasets.shared.image_splits import split_of
from densekit.errors import DataError
from densekit.io.depth import extent
from densekit.io.images import TAIL, is_deep, orientation_of, read_values, why_cut_short
from densekit.progress import told

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_WORKERS = 8
"""Threads that read; disks and network shares answer many at a time."""
_DESCRIBING = frozenset({".json", ".xml", ".txt", ".yaml", ".yml", ".csv", ".names", ".labels"})


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return f".{name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES


def list_tree(root: Path, dangling: list[str] | None = None) -> dict[str, tuple[int, int]]:
    """Return size and modification time (ns) of the images and annotation files below ``root``, by POSIX path.

    Hidden files and folders are skipped, links to folders are followed (once: a loop ends); links that lead nowhere are
    added to ``dangling``.
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
                    if dangling is not None:
                        dangling.append(prefix + entry.name)
                    continue
                found[prefix + entry.name] = (status.st_size, status.st_mtime_ns)
    return found


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in ``folder``, sorted; hidden ones are skipped.

    Among 100,000 files the few folders are found without asking the file system about each of them.
    """
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def only_folders(path: Path) -> list[Path]:
    """Return the folders that are each the only thing in the one before, at most two."""
    found: list[Path] = []
    while len(found) < 2:
        inside = [f for f in (found[-1] if found else path).iterdir() if not f.name.startswith((".", "__MACOSX"))]
        if len(inside) != 1 or not inside[0].is_dir():
            break
        found.append(inside[0])
    return found


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

    Names are compared in Unicode's composed form: macOS writes the two marks of an umlaut apart.

    Args:
        root: The folder. Paths given and returned are relative to it, in POSIX form.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {name for name in list_tree(root) if is_image(name)}
        self._by_end: dict[str, list[str]] = defaultdict(list)
        for file in sorted(self.files):
            end = file.partition("/")[2] if file.isascii() else composed(file)  # whole names are in ``files``
            while end:
                self._by_end[end].append(file)
                end = end.partition("/")[2]

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for file in sorted(self.files):
            found[composed(file.rpartition("/")[2].rpartition(".")[0])].append(file)
        return found

    def locate(self, names: Sequence[str], *, beside: str, split: str | None) -> list[list[str]]:
        """Find the files that each name in an annotation file may mean: by the longest end of the name that fits.

        Files in folders that belong to another split are not looked at. Of several files that a name fits, the one
        below the annotation file's own folder is meant, then the one below the only folder called like the split,
        then the one below the only folder that has an image for every name. A name that is listed twice can mean
        each of several files, and so can one for which none of this is so.

        Args:
            names: As the annotations give them; backslashes and a leading ``./`` or ``/`` are understood.
            beside: Folder of the annotation file.
            split: Split of the annotation file, None if it is not known.

        Returns:
            For each name its file; no file if none fits; several, sorted, if nothing tells them apart.
        """
        cleaned = [composed(name.replace("\\", "/").removeprefix("./").lstrip("/")) for name in names]
        found = [self._fitting(name, split) for name in cleaned]
        if split is not None and not any(files for _, files in found):  # the names of the folders speak for nothing
            found = [self._fitting(name, None) for name in cleaned]
        found = _without_cut_names(cleaned, found)
        if all(len(files) < 2 for _, files in found):
            return [files for _, files in found]
        folders = [{file: composed(file).removesuffix(end).rstrip("/") for file in files} for end, files in found]
        home = _home(folders, beside, split)
        listed = Counter(end for end, _ in found)
        result = []
        for (end, files), below in zip(found, folders, strict=True):
            meant = [file for file in files if below[file] == home] if listed[end] == 1 and home is not None else []
            result.append(meant or sorted(files, key=lambda file: below[file] != home))
        return result

    def _fitting(self, name: str, split: str | None) -> tuple[str, list[str]]:
        """Return the longest end of a name that files have, and these files."""
        end = name
        while end:
            files = self._by_end.get(end, [])
            if end in self.files and end.isascii():
                files = [end, *files]
            if split is not None:
                files = [f for f in files if split_of(composed(f).removesuffix(end)) in (None, split)]
            if files:
                return end, files
            end = end.partition("/")[2]
        return name, []

    def narrow(self, files: Sequence[str], size: tuple[int, int]) -> list[str]:
        """Keep, of files that a name may mean, those of the annotated width and height; one of files that are equal.

        Args:
            files: As :meth:`locate` and :meth:`by_stem` return them.
            size: Width and height in the annotations, zeros if they do not say.
        """
        if len(files) < 2:
            return list(files)
        headers = dict(zip(files, read_headers([str(self.root / file) for file in files]), strict=True))
        fitting = [f for f in files if headers[f] is not None and (headers[f].width, headers[f].height) == size]
        kept = fitting or list(files)
        same = all(filecmp.cmp(self.root / kept[0], self.root / file, shallow=False) for file in kept[1:])
        return kept[:1] if same else kept

    def by_stem(self, stem: str, folders: Sequence[str]) -> list[str]:
        """Find the images called ``stem`` with any image suffix, directly in one of ``folders``."""
        stem = composed(stem)
        wanted = {composed(f"{folder}/{stem}" if folder else stem) for folder in folders}
        found = self._by_stem.get(stem.rpartition("/")[2], [])
        return [file for file in found if composed(file).rpartition(".")[0] in wanted]


def composed(name: str) -> str:
    """Return a name in Unicode's composed form, in which names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _without_cut_names(names: Sequence[str], found: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """Find no file for a name of which more was cut off than of the others: camB/1.jpg is not camA/1.jpg."""
    fits = [(name.count("/") - end.count("/"), end.count("/")) for name, (end, files) in zip(names, found, strict=True)]
    foldered = [fit for fit, name, (_, files) in zip(fits, names, found, strict=True) if files and "/" in name]
    if not foldered:
        return found
    cut, kept = min(cut for cut, _ in foldered), max(kept for _, kept in foldered)
    return [
        (end, [] if "/" in name and fit[0] > cut and fit[1] < kept else files)
        for name, (end, files), fit in zip(names, found, fits, strict=True)
    ]


def _home(folders: Sequence[dict[str, str]], beside: str, split: str | None) -> str | None:
    """Return the folder that the names are relative to, None if several could be it."""
    hits = Counter(folder for below in folders for folder in set(below.values()))
    most = max(hits.values())
    named = [folder for folder in hits if split is not None and split_of(folder) == split and 2 * hits[folder] >= most]
    whole = [folder for folder, count in hits.items() if count == len(folders)]
    for candidates in ([beside] if hits[composed(beside)] == most else [], named, whole):
        if len(candidates) == 1:
            return composed(candidates[0])
    return None


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
        deep: Whether it has more than 8 bits per channel.
    """

    width: int
    height: int
    mode: str
    orientation: int
    size: int
    tail: bytes
    whole: bool
    problem: str
    deep: bool = False


def read_headers(paths: Sequence[str]) -> list[Header | None]:
    """Read the headers of image files, None for a file that is not there."""
    # In chunks: a task for each of 100,000 files would cost more than reading its header.
    chunks = [paths[i : i + 256] for i in range(0, len(paths), 256)]
    with ThreadPoolExecutor(_WORKERS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only headers are read
        read = pool.map(lambda chunk: list(map(_read_header, chunk)), chunks)
        return list(told((header for chunk in read for header in chunk), len(paths), "image headers read"))


def read_extents(paths: Sequence[str]) -> list[tuple[str, float, float] | str]:
    """Decode images of more than 8 bits in threads.

    Returns:
        For each its :func:`~densekit.io.depth.extent`, or why it cannot be read.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(told(pool.map(_read_extent, paths), len(paths), "images of more than 8 bits measured"))


def _read_extent(path: str) -> tuple[str, float, float] | str:
    try:
        return extent(read_values(Path(path)))
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")


def _read_header(path: str) -> Header | None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  (opening a FIFO would block)
            return Header(0, 0, "", 1, 0, b"", True, "not a file, but a folder, FIFO or device")
        with open(path, "rb") as file:  # noqa: PTH123
            return _parse_header(file)
    except FileNotFoundError:
        return None
    except Image.DecompressionBombError:
        return Header(0, 0, "", 1, 0, b"", True, "more than 179 million pixels: cut it into tiles")
    except Image.UnidentifiedImageError:
        return _decoded_header(path)
    except (OSError, ValueError, SyntaxError) as error:
        return Header(0, 0, "", 1, 0, b"", True, str(error))


def _decoded_header(path: str) -> Header:
    """The header of a file that Pillow does not know, as floating-point colours: what can be trained on is sound."""
    try:
        pixels = read_values(Path(path))
    except DataError as error:
        return Header(0, 0, "", 1, 0, b"", True, str(error).removeprefix(f"{path}: "))
    data = Path(path).read_bytes()
    tail = hashlib.blake2b(data[-TAIL:], digest_size=16).digest()
    kind, deep = pixels.dtype.name, pixels.dtype != np.uint8
    return Header(pixels.shape[1], pixels.shape[0], kind, 1, len(data), tail, True, "", deep)


def _parse_header(file: BinaryIO) -> Header:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    tail = file.read()
    file.seek(0)
    if size == 0:
        return Header(0, 0, "", 1, 0, b"", True, "the file is empty")
    with Image.open(file) as image:
        width, height = image.size
        orientation = orientation_of(image) if "exif" in image.info else 1
        if orientation in (5, 6, 7, 8):
            width, height = height, width
        whole, deep = not why_cut_short(image, tail), is_deep(image)
        digest = hashlib.blake2b(tail, digest_size=16).digest()
        return Header(width, height, image.mode, orientation, size, digest, whole, "", deep)
