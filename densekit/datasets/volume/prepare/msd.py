"""Folders that a ``dataset.json`` describes: Medical Segmentation Decathlon, nnU-Net's raw data versions 1 and 2."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from densekit.datasets.shared.patient_table import read_patient_table
from densekit.datasets.shared.splits import assign_splits
from densekit.datasets.volume.prepare.files import list_volumes, require_folder
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.errors import DataError, few
from densekit.io import atomic_path, contents, load_json, volume_stem

HOW_TO_GET = (
    "unpack the data set to PATH/{dataset.json,imagesTr,labelsTr} (Decathlon: medicaldecathlon.com) and run "
    "`densekit prepare msd PATH OUT`; without a dataset.json use `densekit prepare folder`"
)

_LEFT_OR_RIGHT = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)
# The heart's chambers bear sides but do not mirror each other; the brain's lateral ventricles do.
_CHAMBER = re.compile(r"^(?!.*lateral).*(ventric|atri)", re.IGNORECASE)


@dataclass(frozen=True)
class Description:
    """What a ``dataset.json`` says: names, and the raw label values in the order of the classes."""

    path: Path
    name: str
    version: int
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    values: tuple[int, ...]
    content: dict[str, Any]

    @property
    def root(self) -> Path:
        """The folder that the file describes."""
        return self.path.parent


def read_dataset_json(
    path: Path,
    *,
    work: Path,
    splits: Path | None = None,
    table: Path | None = None,
    classes_from: Sequence[str] | None = None,
    seed: int = 0,
) -> SourceDataset:
    """Read a Decathlon or nnU-Net folder.

    Args:
        path: The folder with ``dataset.json``, or the one above it.
        work: The single channels into which 4D Decathlon images are split go to ``converted`` in it.
        splits, seed: See :func:`densekit.datasets.shared.splits.assign_splits`.
        table, classes_from: See :func:`densekit.datasets.shared.patient_table.read_patient_table`.

    Returns:
        The labelled cases; those of ``imagesTs`` too where ``labelsTs`` has labels (split ``test``).

    Raises:
        DataError: for a malformed ``dataset.json``, listed files that are absent, images without label, regions.
    """
    description = _describe(_find_json(require_folder(path, HOW_TO_GET)))
    training, notes = _training_files(description, work)
    _check_count(description, len(training), notes)
    test = _test_cases(description, set(training), notes)
    known = read_patient_table(table, classes_from, [*sorted(training), *test])
    assigned = assign_splits(sorted(training), root=description.root, splits=splits, seed=seed, patients=known.patients)
    patients = {**known.patients, **assigned.patients}
    where = {**dict(sorted(assigned.split.items())), **dict.fromkeys(test, "test")}
    files = {**training, **test}
    cases = [
        CaseSource(case, *files[case], split=split, patient=patients.get(case), **known.of(case))
        for case, split in where.items()
    ]
    pairs = mirror_pairs(description.labels)
    notes += mirror_note(pairs)
    if len(set(map(_is_ct, description.channels))) > 1:
        notes.append(f"channels {few(description.channels)} mix CT with others: each is normalised per case (zscore)")
    identical = description.values == tuple(range(len(description.values)))
    return SourceDataset(
        name=description.name,
        layout=f"nnunet-v{description.version}" if description.version == 2 else "msd",
        channels=description.channels,
        labels=description.labels,
        cases=tuple(cases),
        remap=None if identical else {value: stored for stored, value in enumerate(description.values)},
        normalization=normalization_of(description.channels),
        mirror_pairs=pairs,
        notes=(*notes, *known.notes, *assigned.notes),
        folds=assigned.folds,
    )


def normalization_of(channels: Sequence[str]) -> str:
    """Return the normalization for channels of these names: ``"ct"`` if all are CT, else ``"zscore"``."""
    return "ct" if all(map(_is_ct, channels)) else "zscore"


def _is_ct(channel: str) -> bool:
    return channel.strip().lower() == "ct"


def mirror_pairs(labels: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of names that differ only in left and right, the heart's chambers left out."""
    pairs = []
    for label in labels:
        side = _LEFT_OR_RIGHT.search(label)
        if side and side[0].lower() == "left" and not _CHAMBER.search(label):
            other = f"{label[: side.start()]}right{label[side.end() :]}".lower()
            pairs += [(label, candidate) for candidate in labels if candidate.lower() == other]
    return tuple(pairs)


def mirror_note(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Say which classes a mirror swaps, if any."""
    shown = few([" and ".join(pair) for pair in pairs], 4)
    return [f"a left/right mirror swaps {shown} (paired by their names)"] if pairs else []


def _find_json(path: Path) -> Path:
    found = [p for p in (path / "dataset.json", *sorted(path.glob("*/dataset.json"))) if p.is_file()]
    if not found:
        raise DataError(f"{path}: no dataset.json there or one level below, {path.name} {contents(path)}; {HOW_TO_GET}")
    if len(found) > 1 and found[0].parent != path:
        raise DataError(
            f"{path}: {few([p.parent for p in found], 4)} all have a dataset.json; give the path of one of them"
        )
    return found[0]


def _describe(path: Path) -> Description:
    content = load_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object with labels and modality (v1) or channel_names (v2)")
    version = 2 if "channel_names" in content else 1
    key = "channel_names" if version == 2 else "modality"
    channels = content.get(key)
    if not (isinstance(channels, dict) and channels and set(channels) == {str(i) for i in range(len(channels))}):
        raise DataError(f'{path}: {key!r} is {channels!r}; expected the channels by number, as {{"0": "CT"}}')
    labels = _labels(path, content.get("labels"))
    return Description(
        path=path,
        name=str(content.get("name") or path.parent.name).lower(),
        version=version,
        channels=tuple(str(channels[str(i)]) for i in range(len(channels))),
        labels=tuple(labels.values()),
        values=tuple(labels),
        content=content,
    )


def _labels(path: Path, labels: Any) -> dict[int, str]:
    """Return class name by raw value, ascending from 0; v1 maps value to name, v2 name to value."""
    expected = 'expected {"0": "background", "1": "liver"} (v1) or {"background": 0, "liver": 1} (v2)'
    if not isinstance(labels, dict) or not labels:
        raise DataError(f"{path}: 'labels' is {labels!r}; {expected}")
    by_value: dict[int, str] = {}
    for key, other in labels.items():
        if isinstance(other, list):
            raise DataError(
                f"{path}: label {key!r} is a region {other}; densekit trains one class per voxel: list the single "
                f"values under 'labels', and unite them after prediction"
            )
        value, name = (other, key) if isinstance(other, int) else (key, other)
        if not re.fullmatch(r"\d+", str(value)) or int(value) in by_value:
            raise DataError(f"{path}: 'labels' has {key!r}: {other!r}; {expected}, each value once")
        if name == "ignore":
            raise DataError(
                f"{path}: label {value} is nnU-Net's 'ignore' (voxels that nobody labelled), which densekit does not "
                f"train with; label these voxels or leave such cases out"
            )
        by_value[int(value)] = str(name)
    if 0 not in by_value or len(by_value) < 2:
        raise DataError(
            f"{path}: 'labels' has the values {few(sorted(by_value))}; the background 0 and a class are needed"
        )
    return dict(sorted(by_value.items()))


Files = tuple[tuple[Path, ...], Path]


def _training_files(description: Description, work: Path) -> tuple[dict[str, Files], list[str]]:
    """Return images and label by case id: from the lists in the JSON, or (nnU-Net v2) from the folders."""
    content, root = description.content, description.root
    listed: list[tuple[str, list[str], str]] = []
    if isinstance(content.get("dataset"), dict):  # nnU-Net v2 may name files outside the usual folders
        listed = [(case, entry["images"], entry["label"]) for case, entry in content["dataset"].items()]
    elif "training" in content:
        for number, entry in enumerate(content["training"]):
            if not (isinstance(entry, dict) and {"image", "label"} <= entry.keys()):
                raise DataError(
                    f'{description.path}: training[{number}] is {entry!r}; expected {{"image": ..., "label": ...}}'
                )
            listed.append((volume_stem(entry["label"]), [entry["image"]], entry["label"]))
    if not listed:
        return _scan(root, "Tr", len(description.channels), strict=True)
    files: dict[str, Files] = {}
    for case, images, label in listed:
        paths = tuple(root / image for image in images)
        if len(paths) == 1 and not paths[0].is_file():
            paths = _with_suffixes(paths[0], len(description.channels))
        for listed_path in (*paths, root / label):
            if not listed_path.is_file():
                raise DataError(
                    f"{listed_path}: listed in {description.path.name} for case {case}, but not there; unpack the data "
                    f"set again, or remove the entry to do without the case"
                )
        files[case] = (_channels(paths, description, case, work), root / label)
    unlisted = [s for s in list_volumes(root / "labelsTr") if s not in files] if "training" in content else []
    left_out = f"{len(unlisted)} label(s) that dataset.json does not list are left out: {few(unlisted, 4)}"
    return files, [left_out] if unlisted else []


def _with_suffixes(path: Path, channels: int) -> tuple[Path, ...]:
    """Return ``case_0000.nii.gz`` ... for the ``case.nii.gz`` that nnU-Net v1 lists."""
    stem = volume_stem(path)
    suffix = path.name[len(stem) :]
    return tuple(path.with_name(f"{stem}_{i:04d}{suffix}") for i in range(channels))


def _channels(paths: tuple[Path, ...], description: Description, case: str, work: Path) -> tuple[Path, ...]:
    """Return one file per channel; a 4D file of the Decathlon (channels last) is split under ``work``, once."""
    count = len(description.channels)
    if len(paths) == count:
        return paths
    with _reading(paths[0]):
        image = nib.load(paths[0])
    if image.ndim != 4 or image.shape[3] != count:
        raise DataError(
            f"{paths[0]}: has shape {image.shape}, but {description.path.name} names {count} channels "
            f"({few(description.channels)}); expected a fourth axis of {count} or one file per channel"
        )
    made = tuple(work / "converted" / f"{case}_{i:04d}.nii.gz" for i in range(count))
    newest = paths[0].stat().st_mtime
    if not all(p.is_file() and p.stat().st_mtime >= newest for p in made):
        with _reading(paths[0]):
            voxels = np.asanyarray(image.dataobj)
        for channel, path in enumerate(made):
            with atomic_path(path) as temporary:
                nib.save(nib.Nifti1Image(voxels[..., channel], image.affine, dtype=voxels.dtype), temporary)
    return made


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise a DataError for what nibabel raises while it reads a damaged file."""
    try:
        yield
    except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError) as error:
        reason = " ".join(str(error).split())  # nibabel's are of several lines
        raise DataError(f"{path}: cannot be read ({reason}); unpack the data set again") from error


def _scan(root: Path, part: str, channels: int, *, strict: bool) -> tuple[dict[str, Files], list[str]]:
    """Pair ``imagesTr/CASE_0000`` ... with ``labelsTr/CASE``; images without label are skipped unless ``strict``."""
    images, labels = list_volumes(root / f"images{part}"), list_volumes(root / f"labels{part}")
    cases = sorted({stem[:-5] for stem in images if re.search(r"_\d{4}$", stem)})
    if strict and not cases:
        raise DataError(
            f"{root}: dataset.json lists no training cases, and imagesTr, where CASE_0000.nii.gz was looked for, "
            f"{contents(root / 'imagesTr')}; {HOW_TO_GET}"
        )
    files: dict[str, Files] = {}
    for case in cases:
        names = [f"{case}_{i:04d}" for i in range(channels)]
        if absent := [name for name in names if name not in images]:
            raise DataError(
                f"{root / f'images{part}'}: case {case} lacks channel file {absent[0]}; dataset.json names {channels} "
                f"channel(s): add the file, or take the case away"
            )
        if case in labels:
            files[case] = (tuple(images[name] for name in names), labels[case])
        elif strict:
            raise DataError(
                f"{images[names[0]]}: no label for it; put {case} into {root / f'labels{part}'}, or take the image "
                f"away to do without the case"
            )
    orphans = sorted(labels.keys() - set(cases))
    return files, [f"labels{part}: no image for {few(orphans, 4)}, left out"] if orphans else []


def _test_cases(description: Description, training: set[str], notes: list[str]) -> dict[str, Files]:
    """Return the cases of ``imagesTs`` that have labels; the others are counted in a note."""
    root = description.root
    count = len({re.sub(r"_\d{4}$", "", stem) for stem in list_volumes(root / "imagesTs")})
    files: dict[str, Files] = {}
    if list_volumes(root / "labelsTs"):
        files, found = _scan(root, "Ts", len(description.channels), strict=False)
        notes += found
    if count > len(files):
        notes.append(f"{count - len(files)} test image(s) without label are not included")
    for case in files:
        if case in training:
            raise DataError(f"{root}: case {case} is in imagesTr and in imagesTs; keep it in one of them")
    return dict(sorted(files.items()))


def _check_count(description: Description, found: int, notes: list[str]) -> None:
    said = description.content.get("numTraining")
    if isinstance(said, int) and said != found:
        notes.append(f"dataset.json says numTraining {said}, {found} case(s) are there")
