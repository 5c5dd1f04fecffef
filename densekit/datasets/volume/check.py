"""``densekit check``: is this data set of volumes sound? What is wrong, in which case, and what to do about it."""

from __future__ import annotations

import hashlib
import logging
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from densekit.datasets.shared.outliers import find_outliers
from densekit.datasets.shared.split_file import SPLIT_FILE, Members, Splits
from densekit.datasets.shared.splits import SPLITS
from densekit.datasets.volume.case import CaseSettings, check_grids, read_case
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.datasets.volume.preprocessing import Preprocessing
from densekit.datasets.volume.stored import Store, read_store
from densekit.datasets.volume.units import ChannelValues, cases_apart, channel_values
from densekit.errors import ConfigError, DataError, few
from densekit.io import write_json_atomic
from densekit.progress import Lines
from densekit.structures.findings import Finding
from densekit.structures.notes import CAUTION, weighs

logger = logging.getLogger("densekit")

T = TypeVar("T")


@dataclass(frozen=True)
class _Facts:
    """What the checks across cases compare: of each case its splits, spacing, content, volume of each class, values.

    The splits are the named one and that of each fold, None where it is in none.
    """

    splits: tuple[str | None, ...]
    spacing: tuple[float, float, float]
    digest: str
    volumes_ml: Mapping[str, float] | None
    values: Sequence[ChannelValues | None]


def check(
    path: str | Path, *, kind: str | None = None, encoding: str | None = None, json_path: str | None = None
) -> int:
    """Check a data set, print what was found, and return the exit status: 0 sound (warnings allowed), 2 errors.

    Args:
        path: Prepared folder, or raw data if ``kind`` is given.
        kind: Layout of raw data, a kind of ``densekit prepare``. Nothing is written for raw data.
        encoding: Label encoding of raw Synapse files.
        json_path: File that the findings are written to as well.

    Raises:
        ConfigError, DataError: if there is nothing that could be checked.
        OutputError: if ``json_path`` cannot be written.
    """
    path = Path(path)
    if kind is None and encoding is not None:
        raise ConfigError("--encoding belongs to raw data: give --kind=synapse as well")
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the path")
    if kind is None and not (path / "dataset.json").is_file() and path.is_dir() and not (path / "cases").is_dir():
        raise DataError(
            f"{path}: is not a prepared folder; for raw data say what they are with --kind=synapse, acdc, msd, nnunet "
            f"or folder"
        )
    findings, cases = check_prepared(path) if kind is None else check_raw(path, kind, encoding)
    for finding in findings:
        print(f"{finding.severity}: {finding.case + ': ' if finding.case else ''}{finding.message}")
    errors = sum(f.severity == "error" for f in findings)
    warnings = sum(f.severity == "warning" for f in findings)
    print(f"{path}: {cases} cases checked, {errors} errors, {warnings} warnings")
    if json_path:
        write_json_atomic(json_path, {"path": str(path), "cases": cases, "findings": [asdict(f) for f in findings]})
    return 2 if errors else 0


def check_prepared(path: Path) -> tuple[list[Finding], int]:
    """Check a prepared data set: its arrays, labels, sources, splits and folds, and its cases against each other."""
    store, splits, problems = read_store(path)
    findings = _noted("", store.notes)
    findings += [Finding("error", "", f"{path / SPLIT_FILE}: {problem}") for problem in problems]
    layers = [splits.of(fold) for fold in (None, *range(len(splits.folds)))]
    findings += _only_scored(layers)
    unused = [case_id for case_id in store.about if not any(case_id in ids for of in layers for ids in of.values())]
    if unused:
        message = (
            f"{len(unused)} cases are in no split and no fold of {SPLIT_FILE}, so nothing reads them: {few(unused)}"
        )
        findings.append(Finding("warning", "", message))
    facts = {}
    for case_id in _progress(store.about):
        try:
            case = store.case(case_id)
            problems = list(_array_problems(store, case_id))
            values = [] if problems else channel_values(case)
            digest = hashlib.blake2b(np.ascontiguousarray(case.image), digest_size=16).hexdigest()
        except DataError as error:
            findings.append(Finding("error", case_id, str(error)))
            continue
        findings += [Finding("error", case_id, problem) for problem in problems]
        findings += _noted(case_id, case.notes)
        places = tuple(_split_of(case_id, members) for members in layers)
        facts[case_id] = _Facts(places, case.geometry.canonical_spacing, digest, case.volumes_ml, values)
    gone = gone_scans(store, facts)
    if gone:
        message = f"{moved(gone, len(store.about))}; `densekit test` needs them, training does not"
        findings.append(Finding("warning", "", message))
    findings += _compare(facts, store.labels)
    return findings + _apart(facts, store.channels, store.preprocessing.normalization), len(store.about)


def _noted(case_id: str, notes: Iterable[str]) -> list[Finding]:
    """What a reader had to say: a warning where it changes what the data mean, else good to know."""
    return [Finding("warning" if weighs(note) else "note", case_id, note.removeprefix(CAUTION)) for note in notes]


def _only_scored(layers: Iterable[Members]) -> list[Finding]:
    """Say of a data set without training cases what it is good for."""
    there = {split for of in layers for split, ids in of.items() if ids}
    if not there or "train" in there:
        return []
    only = " and ".join(split for split in SPLITS if split in there)
    return [Finding("note", "", f"holds only {only}: it can be scored, not trained on")]


def gone_scans(store: Store, ids: Iterable[str]) -> dict[str, Path]:
    """Return of each case whose scan is not where it was prepared from a file that is not there."""
    files = ((case_id, path) for case_id in ids for path in store.case(case_id).image_files())
    return {case_id: path for case_id, path in files if path is not None and not path.exists()}


def moved(gone: Mapping[str, Path], cases: int) -> str:
    """Say that scans are not where they were, and how to go on where they lie now."""
    first = next(iter(gone.values()))
    lost = next(path for path in (first, *first.parents) if path.parent.exists())
    return (
        f"the scans of {len(gone)} of {cases} cases are not where they were prepared from, e.g. {first}; put them "
        f"back, or link what is not there to where it is now: ln -s NEW {shlex.quote(str(lost))}"
    )


def _split_of(case_id: str, members: Members) -> str | None:
    return next((split for split in SPLITS if case_id in members.get(split, ())), None)


def check_raw(path: Path, kind: str, encoding: str | None) -> tuple[list[Finding], int]:
    """Check raw data as ``densekit prepare`` would read them, without keeping anything."""
    from densekit.datasets.volume.prepare import read_source

    with TemporaryDirectory() as work:
        source = read_source(kind, path, work=Path(work), **({"encoding": encoding} if encoding else {}))
        findings = _noted("", source.notes)
        patients = {case.id: case.patient or case.id for case in source.cases}
        named = {split: [case.id for case in source.cases if case.split == split] for split in SPLITS}
        findings += [Finding("error", "", problem) for problem in Splits(named, source.folds).problems(patients)]
        findings += _only_scored([named, *source.folds])
        facts = {}
        for case in _progress(source.cases, lambda case: case.id):
            try:
                facts[case.id], notes = _read_facts(case, source)
            except DataError as error:
                findings.append(Finding("error", case.id, str(error)))
            else:
                findings += _noted(case.id, notes)
        findings += _compare(facts, source.labels)
        return findings + _apart(facts, source.channels, source.normalization), len(source.cases)


def _apart(facts: Mapping[str, _Facts], channels: Sequence[str], normalization: str) -> list[Finding]:
    """Cases in another unit than most."""
    cases = {case_id: fact.values for case_id, fact in facts.items() if fact.values}
    return [Finding("warning", *found) for found in cases_apart(cases, channels, normalization)]


def _read_facts(case: CaseSource, source: SourceDataset) -> tuple[_Facts, list[str]]:
    _, problems = check_grids(case)
    if problems:
        raise DataError("; and ".join(problems))
    settings = CaseSettings(Preprocessing(source.channels, None, source.normalization), source.labels, source.remap)
    scan = read_case(case, settings)
    volumes = None
    if scan.counts is not None:
        millilitres = (scan.counts[1:] * scan.geometry.voxel_ml).tolist()
        volumes = dict(zip(source.labels[1:], millilitres, strict=True))
    digest = hashlib.blake2b(np.ascontiguousarray(scan.image), digest_size=16).hexdigest()
    values = [
        None if path is None else ChannelValues.of(channel, scan.labels)
        for channel, path in zip(scan.image, case.images, strict=True)
    ]
    return _Facts((case.split,), scan.geometry.canonical_spacing, digest, volumes, values), scan.notes


def _array_problems(store: Store, case_id: str) -> Iterator[str]:
    case = store.case(case_id)
    again = "run `densekit prepare` again after deleting its folder"
    if case.image.shape != (len(store.channels), *case.shape):
        yield f"{case.folder / 'image.npy'} has shape {case.image.shape}, case.json says {case.shape}; {again}"
    if case.image.dtype.kind == "f" and not np.isfinite(case.image).all():
        yield f"{case.folder / 'image.npy'} holds NaN or infinite values; {again}"
    if case.label is None:
        return
    if case.label.shape != case.shape:
        yield f"{case.folder / 'label.npy'} has shape {case.label.shape}, the image {case.shape}; {again}"
    elif case.label.max() >= len(store.labels):
        highest, classes = case.label.max(), len(store.labels)
        yield f"{case.folder / 'label.npy'} holds value {highest}, there are {classes} classes; {again}"
    elif len(case.foreground):
        value, *voxel = case.foreground.T
        outside = case.foreground[:, 1:].min() < 0 or (case.foreground[:, 1:] >= case.shape).any()
        if outside or not np.array_equal(case.label[tuple(voxel)], value):
            yield f"{case.folder / 'foreground.npy'} does not belong to label.npy; {again}"


def _compare(facts: Mapping[str, _Facts], labels: Iterable[str]) -> Iterator[Finding]:
    """What only shows when cases are compared: the same scan twice, classes that are missing, values out of line."""
    same = defaultdict(list)
    for case_id, fact in facts.items():
        same[fact.digest].append(case_id)
    for ids in same.values():
        if len(ids) > 1:
            across = any(len({*places} - {None}) > 1 for places in zip(*(facts[i].splits for i in ids), strict=True))
            what = (
                "in different splits: the score would be of a scan the network was trained on"
                if across
                else "in one split"
            )
            yield Finding(
                "error" if across else "warning", "", f"the same scan is there as {', '.join(ids)}, {what}; keep one"
            )
    for name in list(labels)[1:]:
        found = {i: f.volumes_ml[name] for i, f in facts.items() if (f.volumes_ml or {}).get(name, 0) > 0}
        for layer, places in enumerate(zip(*(fact.splits for fact in facts.values()), strict=True)):
            if "train" in places and not any(facts[i].splits[layer] == "train" for i in found):
                of = f" of fold {layer - 1}" if layer else ""
                message = f"no training case{of} has a voxel of {name}: it cannot be learned; leave the class out"
                yield Finding("warning", "", message)
        for case_id, volume, median in _outliers(found):
            yield Finding(
                "warning", case_id, f"{name} has {volume:.3g} ml, the median is {median:.3g} ml: look at its label"
            )
    for axis, name in enumerate("DHW"):
        for case_id, value, median in _outliers({i: f.spacing[axis] for i, f in facts.items()}):
            yield Finding(
                "warning",
                case_id,
                f"spacing along {name} is {value:.3g} mm, the median is {median:.3g} mm: is the header right?",
            )


def _outliers(values: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
    """Cases whose value stands out from the others, with their median."""
    ids, numbers = list(values), list(values.values())
    for place in find_outliers(numbers):
        yield ids[place], numbers[place], float(np.median(numbers))


def _progress(items: Collection[T], name: Callable[[T], str] = str) -> Iterator[T]:
    """Shows how many cases are done: a bar on a terminal, now and then a line in a log."""
    lines = Lines(logger.info)
    bar = tqdm(items, unit="case", leave=False, disable=not sys.stderr.isatty())
    for done, item in enumerate(bar):
        if done and bar.disable:
            lines(done, len(items), f"{done} of {len(items)} cases checked, now {name(item)}")
        yield item
