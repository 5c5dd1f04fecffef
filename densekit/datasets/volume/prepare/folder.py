"""A plain folder of image/label pairs: one's own data, without any description file."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densekit.datasets.shared.splits import assign_splits
from densekit.datasets.volume.prepare.files import list_volumes, require_folder
from densekit.datasets.volume.prepare.msd import kind_of, mirror_pairs
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.errors import ConfigError, DataError, few
from densekit.io import contents, read_label

_LAYOUTS = (("images", "labels"), ("imagesTr", "labelsTr"))
HOW_TO_GET = (
    "lay the data out as PATH/images/NAME.nii.gz and PATH/labels/NAME.nii.gz (or imagesTr and labelsTr; several "
    "channels as images/NAME_0000.nii.gz, NAME_0001.nii.gz) and run `densekit prepare folder PATH OUT`"
)

log = logging.getLogger("densekit")


def read_folder(
    path: Path,
    *,
    labels: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    splits: Path | None = None,
    fold: int = 0,
    seed: int = 0,
) -> SourceDataset:
    """Read ``PATH/images`` and ``PATH/labels``, paired by file name.

    Args:
        path: The folder above the two.
        labels: Class names in the order of the label values 1, 2, ...; a leading ``"background"`` may be given. None:
            the values found in all label files become ``"label 1"``, ``"label 2"``, ...
        channels: Channel names; ``"CT"`` selects CT normalization. More than one: images are called ``NAME_0000``,
            ``NAME_0001``, ... None: one channel of unknown kind, normalised per case.
        splits: CSV with ``case,split[,subject]`` or nnU-Net's ``splits_final.json``; None: see
            :func:`densekit.datasets.shared.splits.assign_splits`.
        fold: Which fold of a ``splits_final.json``.
        seed: Seed of the draw if there is no split file.

    Raises:
        DataError: if the folders are not there, are empty, or an image has no label.
    """
    path = require_folder(path, HOW_TO_GET)
    found = next((pair for pair in _LAYOUTS if all((path / name).is_dir() for name in pair)), None)
    if found is None:
        raise DataError(
            f"{path}: looked for images + labels and imagesTr + labelsTr, {path.name} {contents(path)}; {HOW_TO_GET}"
        )
    notes = []
    if not channels:
        notes.append('channel kind not given: images are normalised per case; for CT pass channels=["CT"]')
        channels = ("image",)
    pairs = _pair(path / found[0], path / found[1], len(channels), notes)
    if labels is None:
        names, remap = _labels_found([label for _, label in pairs.values()], notes)
    else:
        names, remap = _named(labels), None
    swaps = mirror_pairs(names)
    if swaps:
        notes.append(f"a left/right mirror swaps {few([' and '.join(p) for p in swaps], 4)} (paired by their names)")
    split, more = assign_splits(sorted(pairs), root=path, splits=splits, fold=fold, seed=seed)
    kinds = {kind_of(channel) for channel in channels}
    return SourceDataset(
        name=path.resolve().name.lower(),
        layout="folder",
        channels=tuple(channels),
        labels=names,
        cases=tuple(CaseSource(case, *pairs[case], split=split[case]) for case in sorted(split)),
        remap=remap,
        normalization=kinds.pop() if len(kinds) == 1 else "zscore",
        mirror_pairs=swaps,
        notes=tuple(notes + more),
    )


def _named(labels: Sequence[str]) -> tuple[str, ...]:
    names = tuple(labels) if labels and labels[0].lower() == "background" else ("background", *labels)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"labels={list(labels)}: expected at least one class name, each name once")
    return names


def _pair(
    image_folder: Path, label_folder: Path, channels: int, notes: list[str]
) -> dict[str, tuple[tuple[Path, ...], Path]]:
    images, labels = list_volumes(image_folder), list_volumes(label_folder)
    pairs = {}
    used = set()
    for case, label in labels.items():
        several = [f"{case}_{i:04d}" for i in range(channels)]
        stems = [case] if channels == 1 and case in images else several
        if all(stem in images for stem in stems):
            pairs[case] = (tuple(images[stem] for stem in stems), label)
            used.update(stems)
        elif any(stem in images for stem in stems):
            absent = next(stem for stem in stems if stem not in images)
            raise DataError(
                f"{image_folder}: case {case} lacks channel file {absent}; {channels} channels were named: add the file"
            )
    if bare := sorted(images.keys() - used):
        extra = re.fullmatch(r"(.+)_(\d{4})", bare[0])
        if extra and extra[1] in labels:
            raise DataError(
                f"{images[bare[0]]}: is channel {int(extra[2])} of case {extra[1]}, but {channels} channel(s) were "
                f"named; give one name per channel in the option channels"
            )
        raise DataError(
            f"{images[bare[0]]}: no label of that name in {label_folder} ({len(bare)} image(s) of {len(images)} lack "
            f"one); put it there, or take the image away to do without the case"
        )
    if orphans := sorted(labels.keys() - pairs.keys()):
        notes.append(f"labels without an image of that name, left out: {few(orphans)}")
    if not pairs:
        raise DataError(f"{image_folder}: no volume (.nii.gz, .nii, .nrrd, .mha, .mhd); {HOW_TO_GET}")
    return pairs


def _labels_found(paths: list[Path], notes: list[str]) -> tuple[tuple[str, ...], dict[int, int] | None]:
    """Make class names of the label values that occur; values with gaps are packed."""
    log.info("reading %d label file(s) for their values, since no class names were given", len(paths))
    values = sorted({0}.union(*(np.unique(read_label(path).array).tolist() for path in paths)))
    if len(values) < 2 or values[0] < 0:
        raise DataError(
            f"{paths[0].parent}: label values found: {few(values)}; expected the background 0 and classes above it"
        )
    names = ("background", *(f"label {value}" for value in values[1:]))
    notes.append(f"class names not given: named by the values found ({few(values[1:], 20)})")
    packed = {value: stored for stored, value in enumerate(values)}
    return names, None if all(value == stored for value, stored in packed.items()) else packed
