"""Folders of one image each with a PNG mask per object: ``<id>/images/*.png`` and ``<id>/masks/*.png`` (DSB 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from densekit.datasets.detection.draft import DetectionSource, Draft, DraftImage, Part, objects_of
from densekit.datasets.detection.findings import Findings
from densekit.datasets.shared.image_files import IMAGE_SUFFIXES, subfolders
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import few
from densekit.ops import run_lengths

CLASS = "object"
"""Name of the one class: the folders do not say what the objects are."""


def find(root: Path) -> DetectionSource | None:
    """Look for folders with ``images`` and ``masks``, in ``root`` or in its folders called like splits."""
    bases = [(None, root), *((split_of(f.name), f) for f in subfolders(root) if split_of(f.name))]
    parts = [Part(split, base) for split, base in bases if next(_cases(base), None) is not None]
    if not parts:
        return None
    counts = few(f"{sum(1 for _ in _cases(p.path))} in {p.path.name} ({p.split or 'all images'})" for p in parts)
    layout = f"one mask file per object: {counts}"
    notes = (f"the folders do not name a class: objects are called {CLASS!r}",)
    return DetectionSource("masks", root, layout, tuple(parts), read, notes=notes)


def _cases(base: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Return image and masks of each case. Several images in one folder are another layout (semantic masks)."""
    for folder in subfolders(base):
        if (folder / "images").is_dir() and (folder / "masks").is_dir():
            images = _image_files(folder / "images")
            if len(images) == 1:
                yield images[0], _image_files(folder / "masks")


def _several(base: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Return the folders among the cases in which it is not one image that the masks are of, with their images."""
    for folder in subfolders(base):
        if (folder / "images").is_dir() and (folder / "masks").is_dir():
            images = _image_files(folder / "images")
            if len(images) != 1:
                yield folder, images


def _image_files(folder: Path) -> list[Path]:
    return [f for f in sorted(folder.iterdir()) if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".")]


def read(source: DetectionSource) -> Draft:
    """Read all masks (in threads) as run lengths with box and area."""
    findings = Findings()
    images: list[DraftImage] = []
    jobs: list[tuple[int, Path]] = []
    for part in source.parts:
        for folder, images_there in _several(part.path):
            names = " or ".join(image.name for image in images_there)
            code = "image-ambiguous" if names else "annotation-without-image"
            findings.add(code, f"{source.relative(folder)}: the masks are of {names or 'no image'}")
        for image, masks in _cases(part.path):
            folder = source.relative(image.parent.parent / "masks")
            images.append(DraftImage(source.relative(image), part.split, source=folder))
            jobs += [(len(images) - 1, mask) for mask in masks]
    rows = []
    with ThreadPoolExecutor(8) as pool:
        for (image, file), found in zip(jobs, pool.map(_read_mask, (file for _, file in jobs)), strict=True):
            if isinstance(found, tuple):
                code, problem = found
                findings.add(code, source.relative(file) + (f": {problem}" if problem else ""))
            else:
                rows.append((image, 0, run_lengths.extent(found)[0], found, file.name))
    return Draft(images, [CLASS], objects_of(rows), findings, "mask")


def _read_mask(path: Path) -> dict[str, Any] | tuple[str, str]:
    """Return the run lengths of a mask, or the code of what is wrong with it and the reason."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return "file-unreadable", "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
    if values.ndim == 3:  # a grey image saved as colour; an opaque alpha channel says nothing
        values = values[..., :3].max(axis=2)
    mask = values != 0
    if not mask.any():
        return "mask-empty", ""
    if values.max() != values[mask].min():
        return "mask-values", ""
    return run_lengths.encode(mask[None])[0]
