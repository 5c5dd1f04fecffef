"""From a recognised source to a data set: files looked at, splits assigned, boxes repaired, classes keyed by name."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from densekit.datasets.detection.dataset import DetectionDataset, DetectionImage
from densekit.datasets.detection.draft import DetectionSource, Draft, DraftImage, Places
from densekit.datasets.detection.repair import repair
from densekit.datasets.shared.folds import Fold
from densekit.datasets.shared.image_files import Header, fingerprint, list_tree, read_extents, read_headers
from densekit.datasets.shared.image_folds import image_folds
from densekit.datasets.shared.image_splits import draw, look_up, read_table
from densekit.datasets.shared.split_file import Splits
from densekit.errors import ConfigError, DataError, close_names, few
from densekit.io.depth import common_ranges
from densekit.structures.class_names import spelling
from densekit.structures.detections import Detections
from densekit.structures.findings import Example

VERSION = 3
"""Goes into every fingerprint: raised when the same files are read differently."""


def read(
    source: DetectionSource,
    *,
    classes: Sequence[str] | None = None,
    seed: int | None = 0,
    fold: Fold | None = None,
) -> DetectionDataset:
    """Read a data set into the one form all layouts share.

    Args:
        source: What :func:`densekit.datasets.detection.recognize` found.
        classes: Names of the classes to keep, in the order of their labels. None: all there are.
        seed: Seed of the draw, if the data do not say which images validate; None: all of them train.
        fold: Fold to validate on, of folds that are made of all images but those to test.

    Returns:
        The data set. What was repaired, left out or guessed is in its ``findings``; errors are there too: ask before
        training on it.

    Raises:
        DataError: if files cannot be read at all, or a name in ``classes`` is not a class of the data.
        ConfigError: if ``classes`` is not a list of different names.
    """
    check_class_list(classes)
    draft = source.reader(source)
    for note in source.notes:
        draft.findings.add("layout", count=1, message=note)
    dangling: list[str] = []
    list_tree(source.root, dangling)
    draft.findings.add("link-dangling", *sorted(dangling))
    for image in draft.images:
        if fold is not None and image.split == "val":
            image.split = "train"  # folds are made of both
    _merge_repeated_images(draft, source.root)
    ranges = _look_at_files(draft, source.root)
    if fold is None:
        _find_empty_splits(draft, source)
    _assign_splits(draft, source.root, None if fold else seed, {part.split for part in source.parts})
    folds = None if fold is None else _divide(draft, source.root, fold)
    annotations = repair(draft, source.root)
    annotations = _join_spellings(draft, annotations, classes or ())
    annotations, names = _select_classes(draft, annotations, classes, source)
    _count_notes(draft, annotations, source.root)
    root, files = _common_root(source.root, draft.images)
    watched = watched_folders(source, draft)
    return DetectionDataset(
        name=source.root.name,
        format=source.format,
        layout=source.layout,
        root=root,
        classes=tuple(names),
        images=_number(draft.images, files),
        annotations=annotations,
        headers=tuple(image.header for image in draft.images),
        ranges=ranges,
        findings=draft.findings.listed(),
        fingerprint=combined_fingerprint(watched, source, classes, seed, fold),
        watched=watched,
        folds=folds,
    )


def check_class_list(classes: Sequence[str] | None) -> None:
    """Refuse a class list that is one string, empty, or has a name twice.

    Raises:
        ConfigError: with the way to write it.
    """
    if isinstance(classes, str):
        raise ConfigError(
            f"classes={classes!r} is one string, not a list of names; write classes=[{classes!r}] "
            f"(or ({classes!r},) with the comma)"
        )
    if classes is None:
        return
    wrong = [name for name in classes if not isinstance(name, str)]
    twice = sorted({name for name in classes if list(classes).count(name) > 1}) if not wrong else []
    if wrong or twice or not classes:
        what = f"{wrong[0]!r} is not a name" if wrong else f"{twice[0]!r} is there twice" if twice else "it is empty"
        raise ConfigError(f"classes={list(classes)}: {what}; give each class once, by its name")


def combined_fingerprint(
    watched: Sequence[Path],
    source: DetectionSource,
    classes: Sequence[str] | None,
    seed: int | None,
    fold: Fold | None = None,
) -> str:
    """Return the hash of the source files, of how they are understood, and of what was asked for."""
    settings = f"{VERSION} {source.format} {source.layout} {classes and list(classes)} {seed} {fingerprint(watched)}"
    settings += f" {fold.key()}" if fold else ""
    return hashlib.blake2b(settings.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def watched_folders(source: DetectionSource, draft: Draft) -> tuple[Path, ...]:
    """Return the folders that hold the data set: its root, and those of images and annotations outside it."""
    outside = {Path(image.file).parent for image in draft.images if _is_absolute(image.file)}
    outside |= {part.path.parent for part in source.parts if not part.path.is_relative_to(source.root)}
    return (source.root, *sorted(outside))


def _merge_repeated_images(draft: Draft, root: Path) -> None:
    """Make one of an image that is listed twice in a split: its objects would be background in the other copy."""
    first: dict[tuple[str, str | None], int] = {}
    new = np.arange(len(draft.images))
    repeated = []
    for index, image in enumerate(draft.images):
        new[index] = first.setdefault((image.file, image.split), index)
        if new[index] != index:
            repeated.append(index)
    if repeated:
        draft.findings.rows("image-twice", repeated, Places(draft, root).image)
        draft.annotations = replace(draft.annotations, image_index=new[draft.annotations.image_index])
        keep = np.ones(len(draft.images), dtype=bool)
        keep[repeated] = False
        _keep_images(draft, keep)


def _keep_images(draft: Draft, keep: np.ndarray) -> None:
    """Leave images out, with their annotations."""
    a = draft.annotations
    a = a.take(keep[a.image_index])
    draft.annotations = replace(a, image_index=(np.cumsum(keep) - 1)[a.image_index])
    draft.images = [image for image, kept in zip(draft.images, keep, strict=True) if kept]


def _look_at_files(draft: Draft, root: Path) -> dict[str, tuple[float, float]]:
    """Read all headers, compare sizes, fill in those that are not annotated; images of unknown size are left out.

    Returns:
        The ranges of the images of more than 8 bits, which are decoded.
    """
    paths = [os.path.join(root, i.file) if i.found else "" for i in draft.images]  # noqa: PTH118
    headers = read_headers(paths)
    deep = [index for index, header in enumerate(headers) if header and header.deep and header.whole]
    extents = read_extents([paths[index] for index in deep])
    for index, found in zip(deep, extents, strict=True):
        if isinstance(found, str):
            headers[index] = headers[index]._replace(problem=found)
    missing, unreadable, sizes, given = [], [], [], []
    for index, (image, header) in enumerate(zip(draft.images, headers, strict=True)):
        image.header = header
        annotated = image.width > 0 and image.height > 0
        if header is None:
            image.found = False
            missing.append(index)
        elif header.problem:
            image.found = False  # there is nothing to show
            unreadable.append(index)
        elif not annotated:
            image.width, image.height = header.width, header.height
            given.append(index)
        elif (image.width, image.height) != (header.width, header.height):
            sizes.append(index)
    places = Places(draft, root)
    all_missing = len(missing) == len(headers)
    words = "not one of the images that the annotations name is there" if all_missing else ""
    draft.findings.rows("image-missing", missing, places.image, message=words)
    draft.findings.rows("image-unreadable", unreadable, lambda i: places.image(i, headers[i].problem))
    draft.findings.rows("image-size", sizes, lambda i: _size_place(places, draft, i, headers[i]))
    if draft.unit not in ("line", "mask"):  # YOLO and mask folders say no sizes, there is nothing to repair
        draft.findings.rows("size-missing", given, places.image)
    _keep_images(draft, np.array([i.width > 0 and i.height > 0 for i in draft.images], dtype=bool))
    return common_ranges(found for found in extents if not isinstance(found, str))


def _size_place(places: Places, draft: Draft, index: int, header: Header) -> Example:
    image = draft.images[index]
    words = f"annotated {image.width} x {image.height}, the image is {header.width} x {header.height}"
    turned = header.orientation in (5, 6, 7, 8) and (image.height, image.width) == (header.width, header.height)
    here = () if draft.fractions else np.flatnonzero(draft.annotations.image_index == index)[:20]
    boxes = tuple(draft.annotations.corners(row) for row in here)
    return places.image(index, words + (" (EXIF turns it)" if turned else ""), boxes)


def _find_empty_splits(draft: Draft, source: DetectionSource) -> None:
    """Say which validation split is given but empty: another must not be drawn in its place."""
    for part in source.parts:
        if part.split == "val" and all(image.split != "val" for image in draft.images):
            draft.findings.add("split-empty", f"val: {source.relative(part.ids or part.path)}")


def _assign_splits(draft: Draft, root: Path, seed: int | None, given: Collection[str | None] = ()) -> None:
    """Give a split to images that have none: by a CSV beside the data, else drawn, if none was given."""
    loose = [image for image in draft.images if image.split is None]
    table = read_table(root) if loose else None
    if table is not None:
        path, splits = table
        found = [look_up(image.file, splits) for image in draft.images]
        if not any(found):
            raise DataError(
                f"{path}: names none of the images, which are called {few((i.file for i in loose), 2)}; "
                f"write file names, stems, or the folder each image lies in"
            )
        draft.findings.add("layout", count=1, message=f"splits are those of {path.name}")
        for image, split in zip(draft.images, found, strict=True):
            image.split = image.split or split
        left = np.array([image.split is not None for image in draft.images], dtype=bool)
        unnamed = [f"{image.file}: not in {path.name}" for image in draft.images if image.split is None]
        draft.findings.add("image-without-annotation", *unnamed[:3], count=len(unnamed))
        _keep_images(draft, left)
        return
    for image in loose:
        image.split = "train"
    if seed is None or "val" in given or any(image.split == "val" for image in draft.images):
        return
    pool = [image for image in draft.images if image.split == "train"]
    chosen = draw([image.file for image in pool], seed=seed)
    for image in pool:
        if image.file in chosen:
            image.split = "val"
    if chosen:
        words = f"no validation split is given: {len(chosen)} of {len(pool)} images drawn for it (seed {seed})"
        draft.findings.add("split-drawn", count=1, message=words)


def _join_spellings(draft: Draft, a: Detections, asked: Collection[str]) -> Detections:
    """Make one class of spellings of a name that no split has two of; the name asked for, else training's, stays."""
    names, groups = draft.classes, defaultdict(list)
    splits = sorted({image.split for image in draft.images}, key=lambda split: split != "train")
    place = np.array([splits.index(image.split) for image in draft.images], dtype=np.int64)
    counts = np.zeros((len(splits), len(names)), dtype=np.int64)
    np.add.at(counts, (place[a.image_index], a.labels), 1)
    for label in np.flatnonzero(counts.any(axis=0)):
        groups[spelling(names[label])].append(int(label))
    into = np.arange(len(names))
    for labels in groups.values():
        among = counts[:, labels] > 0
        if len(labels) == 1 or (among.sum(axis=1) > 1).any() or sum(names[label] in asked for label in labels) > 1:
            continue
        stays = max(labels, key=lambda label: (names[label] in asked, *(counts[:, label] > 0)))
        into[labels] = stays
        where = (f"{names[label]!r} in {splits[int(counts[:, label].argmax())]}" for label in labels if label != stays)
        draft.findings.add("class-spelling", *(f"{words} is {names[stays]!r}" for words in where))
    kept = into == np.arange(len(names))
    draft.classes = [name for name, stays in zip(names, kept, strict=True) if stays]
    return replace(a, labels=(np.cumsum(kept) - 1)[into][a.labels])


def _divide(draft: Draft, root: Path, fold: Fold) -> Splits:
    """Make folds of the images that train and validate, and give each its split in the one that is asked for."""
    a = draft.annotations
    pool = [index for index, image in enumerate(draft.images) if image.split != "test"]
    tags: dict[str, set[str]] = defaultdict(set)
    for index, label in np.unique(np.stack([a.image_index, a.labels], axis=1), axis=0).tolist():
        tags[draft.images[index].file].add(draft.classes[label])
    images = [draft.images[index] for index in pool]
    splits = image_folds([image.file for image in images], root, [image.header for image in images], tags, fold)
    chosen = set(splits.folds[fold.index]["val"])
    for image in images:
        image.split = "val" if image.file in chosen else "train"
    words = (
        f"fold {fold.index} of {fold.number} (from 0): {len(chosen)} of {len(pool)} images validate; by {splits.by}, "
        f"stratified by {splits.stratified} (seed {splits.seed})"
    )
    draft.findings.add("layout", count=1, message=words)
    test = [image.file for image in draft.images if image.split == "test"]
    return replace(splits, splits={"test": test} if test else {})


def _select_classes(
    draft: Draft, a: Detections, classes: Sequence[str] | None, source: DetectionSource
) -> tuple[Detections, list[str]]:
    """Keep the classes asked for, in the order asked for; without a wish all, in the reader's order."""
    if classes is None:
        return a, draft.classes
    for name in classes:
        if name not in draft.classes:
            raise DataError(
                f"classes: {name!r} is not a class of {source.root}{close_names(name, draft.classes)} "
                f"(it has {few(draft.classes, 20)})"
            )
    label = np.array([list(classes).index(name) if name in classes else -1 for name in draft.classes], dtype=np.int64)
    kept = label[a.labels] >= 0
    dropped = [name for name in draft.classes if name not in classes]
    if dropped:
        words = f"classes not asked for are left out, with their {int((~kept).sum())} objects: {few(dropped)}"
        draft.findings.add("layout", count=1, message=words)
    a = a.take(kept)
    return replace(a, labels=label[a.labels]), list(classes)


def _count_notes(draft: Draft, a: Detections, root: Path) -> None:
    places = Places(draft, root)
    empty = np.flatnonzero(np.bincount(a.image_index, minlength=len(draft.images)) == 0)
    by_split = defaultdict(int)
    for index in empty:
        by_split[draft.images[index].split] += 1
    words = ", ".join(f"{count} in {split}" for split, count in by_split.items())
    message = f"images without an object, kept as background ({words})"
    draft.findings.rows("background", empty, places.image, message=message)
    draft.findings.add("crowd", count=int((a.crowd | a.ignore).sum()))
    outlined = a.outlined
    if outlined.any():
        draft.findings.rows(
            "outline-missing", np.flatnonzero(~outlined), lambda row: places.image(int(a.image_index[row]))
        )


def _is_absolute(file: str) -> bool:
    return file.startswith("/") or file[1:3] == ":/"  # a Path for each of 100,000 files would cost a second


def _common_root(root: Path, images: Sequence[DraftImage]) -> tuple[Path, list[str]]:
    """Return the folder below which all images lie, and their paths relative to it."""
    if not any(_is_absolute(image.file) for image in images):
        return root, [image.file for image in images]
    paths = [root / image.file for image in images]
    common = Path(os.path.commonpath([root, *paths]))
    return common, [path.relative_to(common).as_posix() for path in paths]


def _number(images: Sequence[DraftImage], files: Sequence[str]) -> tuple[DetectionImage, ...]:
    """Keep the source's ids where all of a split are different integers; else number each split from 1."""
    ids: dict[str, list] = defaultdict(list)
    for image in images:
        ids[image.split].append(image.id)
    own = {s: all(type(i) is int for i in found) and len(set(found)) == len(found) for s, found in ids.items()}
    numbers = {split: iter(found if own[split] else range(1, len(found) + 1)) for split, found in ids.items()}
    return tuple(
        DetectionImage(next(numbers[image.split]), file, image.split, image.width, image.height)
        for image, file in zip(images, files, strict=True)
    )
