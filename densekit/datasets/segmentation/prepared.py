"""A data set of label images as training reads it; looked at once, kept until a file of it changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from densekit.datasets.segmentation.classes import ClassList, class_list
from densekit.datasets.segmentation.draft import Draft, SegmentationSource
from densekit.datasets.segmentation.labelling import Ignored
from densekit.datasets.segmentation.masks import VALUES, read_labels
from densekit.datasets.segmentation.reading import Images, Read, look_at_images, read_masks
from densekit.datasets.segmentation.recognize import recognize
from densekit.datasets.segmentation.splitting import assign_splits, divide
from densekit.datasets.shared.cache import AUTO, cache_folder, writing_cache
from densekit.datasets.shared.folds import Fold
from densekit.datasets.shared.image_files import fingerprint
from densekit.datasets.shared.split_file import SPLIT_FILE
from densekit.errors import ConfigError, DataError
from densekit.io.atomic import atomic_path, write_json_atomic
from densekit.io.depth import Ranges
from densekit.structures.findings import Example, Finding
from densekit.structures.label_images import IGNORED

_KEPT = "prepared.json"
_VERSION = 1
"""Goes into every fingerprint: raised when the same files are read differently."""
_ORDER = ("train", "val", "test")


class Pair(NamedTuple):
    """An image with its mask.

    Attributes:
        image: Path.
        mask: Path of an index image: the data set's own, or one in the cache that was made of it.
        size: Width and height of the image in pixels.
    """

    image: str
    mask: str
    size: tuple[int, int]


@dataclass(frozen=True)
class PreparedSegmentation:
    """A data set as training reads it.

    Attributes:
        root: Its folder.
        name: Of the folder.
        format: Name of the layout.
        layout: What was recognised, in a sentence.
        classes: Names; the place is the label.
        lookup: Label of each value of a mask, uint8 ``(65536,)``; IGNORED where there is none (ADE20K's 0).
        colours: Red, green, blue of each class, if any are given.
        splits: Pairs of each split.
        pixels: Of each split, pixels by image and label, int64 ``(images, classes + 1)``; the last are ignored.
        channels: Of the images; 3 are read as blue, green, red.
        ranges: Of images of more than 8 bits; see :mod:`densekit.io.depth`.
        findings: Errors first, then warnings, then notes: what reading itself finds.
        fingerprint: Hash of the source files and settings, to be kept with what is trained.
        folder: Of the cache: masks that were made of it, and all folds as ``splits.json``.
    """

    root: Path
    name: str
    format: str
    layout: str
    classes: tuple[str, ...]
    lookup: np.ndarray
    colours: tuple[tuple[int, int, int], ...] | None
    splits: Mapping[str, tuple[Pair, ...]]
    pixels: Mapping[str, np.ndarray]
    channels: int
    ranges: Ranges
    findings: tuple[Finding, ...]
    fingerprint: str
    folder: Path

    @cached_property
    def counts(self) -> dict[str, dict[str, Any]]:
        """Of each split ``images``; ``pixels`` of each class, int64 ``(classes,)``; pixels that are ``ignored``; and
        ``unlabelled``, the images without a labelled pixel."""
        return {
            split: {
                "images": len(pixels),
                "pixels": pixels[:, :-1].sum(axis=0),
                "ignored": int(pixels[:, -1].sum()),
                "unlabelled": int((pixels[:, :-1].sum(axis=1) == 0).sum()),
            }
            for split, pixels in self.pixels.items()
        }

    def read_labels(self, pair: Pair) -> np.ndarray:
        """Read the labels of a pair, uint8 ``(H, W)`` of its image's size.

        Raises:
            DataError: if its mask cannot be read, or has changed.
        """
        return read_labels(Path(pair.mask), self.lookup, pair.size)

    def require_sound(self) -> None:
        """Refuse a data set with errors.

        Raises:
            DataError: with the first error and how to see the others.
        """
        errors = [finding for finding in self.findings if finding.severity == "error"]
        if errors:
            first = errors[0]
            place = f", e.g. {first.examples[0].where}" if first.examples else ""
            more = f" ({len(errors) - 1} more kinds of error)" if len(errors) > 1 else ""
            raise DataError(
                f"{self.root}: {first.message}: {first.count}{place}; {first.remedy}{more}; "
                f"`densekit check {self.root}` shows all"
            )


def prepare_segmentation(
    root: str | Path,
    *,
    format: str | None = None,
    classes: Sequence[str] | Mapping[str, Any] | str | Path | None = None,
    colours: Mapping[str, Sequence[int]] | Sequence[Sequence[int]] | str | Path | None = None,
    ignore: Any = None,
    seed: int | None = 0,
    fold: Fold | None = None,
    cache: str | Path = AUTO,
) -> PreparedSegmentation:
    """Read a data set; a second time it is found in the cache.

    Args:
        root: Its folder.
        format: Name of the layout; None finds out.
        classes: Names, or a file with names, values, colours; see :mod:`densekit.datasets.segmentation.classes`. None:
            those of the layout, or the values found in the masks.
        colours: Of the classes in coloured masks, where ``classes`` does not say: a file, ``{name: (r, g, b)}``, or one
            for each of the classes.
        ignore: Values, colours ``[[r, g, b]]`` or names of classes that are neither trained on nor scored.
        seed: Seed of the draw if the data have no validation split; None: none is drawn.
        fold: Fold to validate on, of folds that are made of all images but those to test.
        cache: Folder to keep the result in, and masks that had to be converted; ``"auto"``:
            ``$XDG_CACHE_HOME/densekit`` or ``~/.cache/densekit``.

    Raises:
        DataError: if there is no data set, or it has errors (warnings pass).
        ConfigError: if ``format``, ``classes``, ``colours`` or ``ignore`` cannot be right.
        OutputError: if the cache cannot be written.
    """
    data = read_segmentation(
        root, format=format, classes=classes, colours=colours, ignore=ignore, seed=seed, fold=fold, cache=cache
    )
    data.require_sound()
    return data


def read_segmentation(
    root: str | Path,
    *,
    format: str | None = None,
    classes: Any = None,
    colours: Any = None,
    ignore: Any = None,
    seed: int | None = 0,
    fold: Fold | None = None,
    cache: str | Path = AUTO,
) -> PreparedSegmentation:
    """Read a data set with its errors, which are among its findings; see :func:`prepare_segmentation`.

    Raises:
        DataError: if there is no data set, or its files cannot be read at all.
        ConfigError, OutputError: as :func:`prepare_segmentation`.
    """
    given, left_out = _given(classes, colours), Ignored.of(ignore)
    source = recognize(root, format=format)
    settings = f"{_VERSION} {source.format} {given} {left_out} {None if fold else seed} {fold.key() if fold else ''}"
    folder = cache_folder(cache, "segmentation", source.root.name, f"{source.root} {settings}")
    hashed = f"{settings} {fingerprint([source.root])}".encode("utf-8", "surrogateescape")
    current = hashlib.blake2b(hashed, digest_size=16).hexdigest()
    kept = _kept(folder, current)
    if kept is not None:
        return kept
    with writing_cache():
        data = _read(source, given, left_out, seed, fold, folder, current)
        _keep(folder, data)
    return data


def _given(classes: Any, colours: Any) -> ClassList | None:
    """Join a class list and colours that are given apart from it.

    Raises:
        ConfigError: if the two do not fit.
    """
    names = None if classes is None else class_list(classes)
    if colours is None:
        return names
    if names is not None and isinstance(colours, Sequence) and not isinstance(colours, str):
        colours = dict(zip(names.names, colours, strict=False)) if len(colours) == len(names.names) else colours
    if not isinstance(colours, (str, Path, Mapping)):
        number = "no classes" if names is None else f"{len(names.names)} classes"
        raise ConfigError(f"colours: {len(colours)} for {number}; give one [r, g, b] for each, or {{name: [r, g, b]}}")
    table = class_list(colours)
    if table.colours is None:
        raise ConfigError(f"{table.source}: has no colours; give name,r,g,b")
    if names is None:
        return table
    by_name = dict(zip(table.names, table.colours, strict=True))
    missing = [name for name in names.names if name not in by_name]
    if missing:
        raise ConfigError(f"{table.source}: has no colour for the class {missing[0]!r}")
    return replace(names, colours=tuple(by_name[n] for n in names.names), ignored=(*names.ignored, *table.ignored))


def _read(
    source: SegmentationSource,
    given: ClassList | None,
    ignored: Ignored,
    seed: int | None,
    fold: Fold | None,
    folder: Path,
    current: str,
) -> PreparedSegmentation:
    draft = source.reader(source)
    images = look_at_images(draft, source.root)
    kept = assign_splits(draft, source.root, None if fold else seed)
    draft.pairs = [draft.pairs[n] for n in kept]
    images = replace(images, headers=[images.headers[n] for n in kept])
    read = read_masks(draft, source.root, images, given, ignored, folder / f"masks-{current[:12]}")
    if fold is not None and draft.pairs:
        divide(draft, source.root, images.headers, read.pixels, fold).write(folder / SPLIT_FILE)
    return _prepared(source, draft, images, read, current, folder)


def _prepared(
    source: SegmentationSource, draft: Draft, images: Images, read: Read, current: str, folder: Path
) -> PreparedSegmentation:
    names = read.labelling.classes.names
    where = {split: [n for n, pair in enumerate(draft.pairs) if pair.split == split] for split in _ORDER}
    where = {split: places for split, places in where.items() if places}
    pixels = {split: read.pixels[places] for split, places in where.items()}
    _report_pixels(draft, names, read.pixels, pixels)

    def pair(n: int) -> Pair:
        made, header = read.measured[n].file, images.headers[n]
        image, mask = (str(source.root / file) for file in (draft.pairs[n].image, draft.pairs[n].mask))
        return Pair(image, made or mask, (header.width, header.height))

    return PreparedSegmentation(
        root=source.root,
        name=source.root.name,
        format=source.format,
        layout=source.layout,
        classes=names,
        lookup=read.labelling.lookup,
        colours=read.labelling.classes.colours,
        splits={split: tuple(map(pair, places)) for split, places in where.items()},
        pixels=pixels,
        channels=images.channels,
        ranges=images.ranges,
        findings=draft.findings.listed(),
        fingerprint=current,
        folder=folder,
    )


def _report_pixels(draft: Draft, names: Sequence[str], pixels: np.ndarray, by_split: Mapping[str, np.ndarray]) -> None:
    """Say which classes and which masks have no pixel."""
    draft.findings.add("no-images", count=int(not draft.pairs))
    unused = np.flatnonzero(pixels[:, :-1].sum(axis=0) == 0) if len(pixels) else ()
    draft.findings.add("class-unused", *(names[label] for label in unused))
    empty = np.flatnonzero(pixels[:, :-1].sum(axis=1) == 0)
    draft.findings.rows("mask-empty", empty.tolist(), lambda n: draft.pairs[n].mask)
    train = by_split.get("train")
    if train is not None and not train[:, :-1].any():
        draft.findings.add("nothing-labelled", "train")


# --- what is kept ---------------------------------------------------------------------------------------------------
def _keep(folder: Path, data: PreparedSegmentation) -> None:
    labelled = np.flatnonzero(data.lookup != IGNORED)
    plain = {
        **{key: getattr(data, key) for key in ("name", "format", "layout", "classes", "colours", "channels", "ranges")},
        "root": str(data.root),
        "lookup": list(zip(labelled.tolist(), data.lookup[labelled].tolist(), strict=True)),
        "splits": data.splits,
        "findings": [asdict(finding) for finding in data.findings],
        "fingerprint": data.fingerprint,
    }
    with atomic_path(_counted(folder, data.fingerprint)) as path:
        np.savez(path, **data.pixels)
    write_json_atomic(folder / _KEPT, plain, indent=None)


def _counted(folder: Path, current: str) -> Path:
    """File of the pixels by image and label."""
    return folder / f"pixels-{current[:12]}.npz"


def _kept(folder: Path, current: str) -> PreparedSegmentation | None:
    """Return what is in the cache, unless a file has changed since or a converted mask is gone."""
    try:
        found = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        if found["fingerprint"] != current:
            return None
        with np.load(_counted(folder, current)) as pixels:
            found["pixels"] = {split: pixels[split] for split in found["splits"]}
    except (OSError, ValueError, KeyError):
        return None
    lookup = np.full(VALUES, IGNORED, np.uint8)
    for value, label in found["lookup"]:
        lookup[value] = label
    splits = {split: tuple(Pair(i, m, tuple(s)) for i, m, s in pairs) for split, pairs in found["splits"].items()}
    made = str(folder)
    if any(p.mask.startswith(made) and not os.path.exists(p.mask) for pairs in splits.values() for p in pairs):  # noqa: PTH110
        return None
    return PreparedSegmentation(
        **{
            **found,
            "root": Path(found["root"]),
            "folder": folder,
            "classes": tuple(found["classes"]),
            "colours": found["colours"] and tuple(map(tuple, found["colours"])),
            "lookup": lookup,
            "splits": splits,
            "ranges": {kind: tuple(span) for kind, span in found["ranges"].items()},
            "findings": tuple(
                Finding(**{**f, "examples": tuple(Example(e["where"], e["image"]) for e in f["examples"])})
                for f in found["findings"]
            ),
        }
    )
