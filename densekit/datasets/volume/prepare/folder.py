"""A plain folder of image/label pairs: one's own data, without any description file."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from densekit.datasets.shared.patient_table import read_patient_table
from densekit.datasets.shared.splits import assign_splits
from densekit.datasets.volume.prepare.boxes import read_boxes
from densekit.datasets.volume.prepare.files import list_volumes, require_folder
from densekit.datasets.volume.prepare.msd import mirror_note, mirror_pairs, normalization_of
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.errors import ConfigError, DataError, close_names, few
from densekit.io import contents, read_label

_LAYOUTS = (("images", "labels"), ("imagesTr", "labelsTr"))
_LABEL_ENDINGS = (".seg", ".label", "-label", "_label", "_seg", "-seg", "_mask", "-mask", "_segmentation")
"""What programs put behind the name of an image to name its label map."""
HOW_TO_GET = (
    "lay the data out as PATH/images/NAME.nii.gz and PATH/labels/NAME.nii.gz (or imagesTr and labelsTr; several "
    "channels as images/NAME_0000.nii.gz, NAME_0001.nii.gz) and run `densekit prepare folder PATH OUT`"
)

log = logging.getLogger("densekit")

Files = tuple[tuple[Path | None, ...], Path | None]
"""A file per channel and the label map of a case, None for what it lacks."""


def read_folder(
    path: Path,
    *,
    labels: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    may_lack: Sequence[str] = (),
    splits: Path | None = None,
    table: Path | None = None,
    classes_from: Sequence[str] | None = None,
    boxes: Path | None = None,
    box_mode: Sequence[str] | None = None,
    box_classes: Sequence[str] | None = None,
    seed: int = 0,
) -> SourceDataset:
    """Read ``PATH/images`` and ``PATH/labels``, paired by file name.

    Args:
        path: The folder above the two.
        labels: Class names in the order of the label values 1, 2, ...; a leading ``"background"`` may be given. None:
            the values found in all label files become ``"label 1"``, ``"label 2"``, ...
        channels: Channel names; ``"CT"`` selects CT normalization. More than one: images are called ``NAME_0000``,
            ``NAME_0001``, ... None: one channel of unknown kind, normalised per case.
        may_lack: What a case may be without: names of channels, and ``"label"``.
        splits, seed: See :func:`densekit.datasets.shared.splits.assign_splits`.
        table, classes_from: See :func:`densekit.datasets.shared.patient_table.read_patient_table`.
        boxes: JSON or CSV of boxes (:func:`densekit.datasets.volume.prepare.boxes.read_boxes`); there need be no folder
            of labels then.
        box_mode: How a JSON has them: mode and space.
        box_classes: Names of their classes, in the order of the numbers 0, 1, ...

    Raises:
        ConfigError: for names that cannot be.
        DataError: if the folders are not there, are empty, or an image has no label and may not lack it.
    """
    path = require_folder(path, HOW_TO_GET)
    if boxes is None and (box_mode or box_classes):
        raise ConfigError("--box-mode and --box-classes say how boxes are read; give their file with --boxes=FILE")
    wanted = [pair[: 1 if boxes else 2] for pair in _LAYOUTS]
    found = next((pair for pair, need in zip(_LAYOUTS, wanted, strict=True) if _all_there(path, need)), None)
    if found is None:
        raise DataError(
            f"{path}: looked for images + labels and imagesTr + labelsTr, {path.name} {contents(path)}; {HOW_TO_GET}"
        )
    notes = []
    if not channels:
        notes.append("channel kind not given: images are normalised per case; for CT say so: --channels CT")
        channels = ("image",)
    for name in may_lack:
        if name not in (*channels, "label"):
            raise ConfigError(f"may_lack={name!r}: expected a channel or 'label'{close_names(name, channels)}")
    if not _all_there(path, found):
        may_lack = (*may_lack, "label")
    pairs = _pair(path / found[0], path / found[1], channels, may_lack, notes)
    if labels is None:
        names, remap = _labels_found(path / found[1], [label for _, label in pairs.values() if label], notes)
    else:
        names, remap = _named(labels), None
    swaps = mirror_pairs(names)
    notes += mirror_note(swaps)
    known = read_patient_table(table, classes_from, sorted(pairs))
    boxed, box_names, box_notes = {}, (), []
    if boxes is not None:
        boxed, box_names, box_notes = read_boxes(boxes, box_mode, box_classes, list(pairs))
    assigned = assign_splits(sorted(pairs), root=path, splits=splits, seed=seed, patients=known.patients)
    return SourceDataset(
        name=path.resolve().name.lower(),
        layout="folder",
        channels=tuple(channels),
        labels=names,
        cases=tuple(
            CaseSource(
                case,
                *pairs[case],
                split=split,
                patient=assigned.patients.get(case),
                boxes=boxed.get(case),
                **known.of(case),
            )
            for case, split in sorted(assigned.split.items())
        ),
        remap=remap,
        normalization=normalization_of(channels),
        mirror_pairs=swaps,
        notes=(*notes, *known.notes, *box_notes, *assigned.notes),
        optional_channels=tuple(name for name in channels if name in may_lack),
        folds=assigned.folds,
        box_classes=box_names,
    )


def _all_there(path: Path, names: Sequence[str]) -> bool:
    return all((path / name).is_dir() for name in names)


def _named(labels: Sequence[str]) -> tuple[str, ...]:
    names = tuple(labels) if labels and labels[0].lower() == "background" else ("background", *labels)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"labels={list(labels)}: expected at least one class name, each name once")
    return names


def _pair(
    image_folder: Path, label_folder: Path, channels: Sequence[str], may_lack: Sequence[str], notes: list[str]
) -> dict[str, Files]:
    images = list_volumes(image_folder)
    labels = _named_like_images(list_volumes(label_folder), images, notes)
    pairs = {}
    used = set()
    ids = list(labels)
    if "label" in may_lack:
        numbered = {re.sub(r"_\d{4}$", "", s) if len(channels) > 1 or s.endswith("_0000") else s for s in images}
        ids += sorted(numbered - labels.keys())
    for case in ids:
        several = [f"{case}_{i:04d}" for i in range(len(channels))]
        stems = [case] if len(channels) == 1 and case in images else several
        lacks = {name: stem for name, stem in zip(channels, stems, strict=True) if stem not in images}
        if len(lacks) == len(stems):
            continue
        if refused := [name for name in lacks if name not in may_lack]:
            raise DataError(
                f"{image_folder}: case {case} lacks channel file {lacks[refused[0]]}; {len(channels)} channels were "
                f"named: add the file, or declare that a case may lack it with --may-lack={refused[0]}"
            )
        pairs[case] = (tuple(images.get(stem) for stem in stems), labels.get(case))
        used.update(stems)
    _refuse_bare(images, used, label_folder, labels, len(channels))
    if orphans := sorted(labels.keys() - pairs.keys()):
        notes.append(f"labels without an image of that name, left out: {few(orphans)}")
    notes += _lacking(pairs, channels)
    if not pairs:
        raise DataError(f"{image_folder}: no volume (.nii.gz, .nii, .nrrd, .mha, .mhd); {HOW_TO_GET}")
    return pairs


def _named_like_images(labels: dict[str, Path], images: dict[str, Path], notes: list[str]) -> dict[str, Path]:
    """Call label maps as their images are called: 3D Slicer saves the labels of ``case0`` as ``case0.seg.nrrd``."""
    cases = images.keys() | {re.sub(r"_\d{4}$", "", stem) for stem in images}
    named, endings = {}, set()
    for stem, path in labels.items():
        short, ending = next(((stem.removesuffix(e), e) for e in _LABEL_ENDINGS if stem.endswith(e)), (stem, ""))
        taken = stem in cases or short not in cases or short in labels or short in named
        named[stem if taken else short] = path
        endings |= set() if taken or not ending else {ending}
    if endings:
        notes.append(f"label files called NAME{' or NAME'.join(sorted(endings))} belong to the images called NAME")
    return named


def _refuse_bare(
    images: dict[str, Path], used: set[str], label_folder: Path, labels: dict[str, Path], channels: int
) -> None:
    """Refuse images that no case took: without a label, or of a channel that was not named."""
    bare = sorted(images.keys() - used)
    if not bare:
        return
    extra = re.fullmatch(r"(.+)_(\d{4})", bare[0])
    if extra and extra[1] in labels:
        raise DataError(
            f"{images[bare[0]]}: is channel {int(extra[2])} of case {extra[1]}, but {channels} channel(s) were "
            f"named; give one name per channel in the option channels"
        )
    raise DataError(
        f"{images[bare[0]]}: no label of that name in {label_folder} ({len(bare)} image(s) of {len(images)} lack "
        f"one); put it there, take the image away to do without the case, or declare it with --may-lack=label"
    )


def _lacking(pairs: dict[str, Files], channels: Sequence[str]) -> Iterator[str]:
    """Say how many cases lack what they may lack."""
    for number, channel in enumerate(channels):
        lack = [case for case, (images, _) in pairs.items() if images[number] is None]
        if lack:
            yield f"{len(lack)} of {len(pairs)} cases have no channel {channel}: {few(lack, 4)}"
    lack = [case for case, (_, label) in pairs.items() if label is None]
    if lack:
        yield f"{len(lack)} of {len(pairs)} cases have no label map: {few(lack, 4)}"


def _labels_found(folder: Path, paths: list[Path], notes: list[str]) -> tuple[tuple[str, ...], dict[int, int] | None]:
    """Make class names of the label values that occur; values with gaps are packed."""
    if not paths:
        return ("background",), None  # there are boxes alone
    log.info("reading %d label file(s) for their values, since no class names were given", len(paths))
    values = sorted({0}.union(*(np.unique(read_label(path).array).tolist() for path in paths)))
    if len(values) < 2 or values[0] < 0:
        raise DataError(f"{folder}: label values found: {few(values)}; expected the background 0 and classes above it")
    names = ("background", *(f"label {value}" for value in values[1:]))
    notes.append(f"class names not given: named by the values found ({few(values[1:], 20)})")
    packed = {value: stored for stored, value in enumerate(values)}
    return names, None if all(value == stored for value, stored in packed.items()) else packed
