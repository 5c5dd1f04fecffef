"""The one on-disk form of prepared volumes, whatever layout they came in.

::

    <out>/dataset.json                 names, cases, preprocessing; written last: a folder without it is not finished
    <out>/splits.json                  who trains, validates and tests, and folds: beside the data, to be edited at will
    <out>/fingerprint.json             spacings, intensities, class volumes
    <out>/cases/<id>/image.npy         (C, d, h, w) int16, uint8 or float32
    <out>/cases/<id>/label.npy         (d, h, w) uint8 or uint16; not for a scan without label
    <out>/cases/<id>/reference.npz     (D, H, W) the label map on the source's own grid, on which scores are counted
    <out>/cases/<id>/foreground.npy    (N, 4) int32: label, d, h, w of up to 10,000 voxels of each class
    <out>/cases/<id>/case.json         sources, geometry, crop box, spacing, statistics, boxes, notes, hash
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from densekit.datasets.shared.folds import make_folds
from densekit.datasets.shared.patient_table import categories, meta_columns
from densekit.datasets.shared.split_file import SPLIT_FILE, Members, Splits
from densekit.datasets.shared.splits import SPLITS
from densekit.datasets.volume.case import PARTIAL, CaseSettings, check_grids, is_current, write_case
from densekit.datasets.volume.fingerprint import (
    ct_intensity,
    fingerprint,
    foreground_histograms,
    median_spacing,
    summarize,
)
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.datasets.volume.preprocessing import Preprocessing
from densekit.datasets.volume.stored import FORMAT, Store, StoredCase, case_folder, open_store, read_description
from densekit.datasets.volume.units import ChannelValues, cases_apart, channel_values, describe
from densekit.errors import ConfigError, DataError, close_names, few
from densekit.io import output_error, write_json_atomic, write_text_atomic
from densekit.ops.unlabelled import UNLABELLED
from densekit.progress import told
from densekit.structures.notes import CAUTION

__all__ = ["Store", "StoredCase", "open_store", "write_store"]

logger = logging.getLogger("densekit")

PREVIOUS = "splits.previous.json"
"""Where a file of splits goes when another is written over it."""

Spacing = tuple[float, float, float]
Progress = Callable[[str, int, int, float], None]
T = TypeVar("T")


def write_store(
    source: SourceDataset,
    out: str | Path,
    *,
    spacing: Sequence[float] | str | None = "source",
    workers: int = 1,
    progress: Progress | None = None,
    folds: int | None = None,
    seed: int = 0,
) -> Store:
    """Prepare a data set.

    Every case appears by rename and ``dataset.json`` is written last, so a folder can be used or says that it is not
    finished. After an interruption, or with more cases, run it again: cases whose source files and settings have not
    changed are kept. The result does not depend on the number of workers.

    The cases do not depend on the splits, which are written to a file of their own; all folds share the cases and, as
    in nnU-Net, one set of intensities: those of the cases named ``train`` here.

    Args:
        source: What the reader of a raw layout returned.
        out: Folder to write to.
        spacing: Target spacing (D, H, W) in mm, ``"median"``, or None (no resampling); ``"source"``: what the source
            says.
        workers: Cases prepared side by side, in threads; each holds a scan in memory.
        progress: Called with (case id, cases done, cases in all, seconds that this one took).
        folds: Make as many folds of the cases in ``train`` and ``val``: by patient, stratified by the classes of the
            patients and by which classes of voxels occur. None: those of the source, if it has any.
        seed: Seed of the folds.

    Raises:
        DataError: with all problems of all cases, one line each.
        OutputError: if the folder cannot be written to.
        ConfigError: for a spacing or number of workers or folds that cannot be.
    """
    out = Path(out)
    if not isinstance(workers, int) or workers < 1:
        raise ConfigError(f"workers is {workers!r}, expected a whole number of at least 1")
    _check_source(source)
    if folds is not None:
        if source.folds:
            raise ConfigError(f"folds={folds}: the split file has {len(source.folds)} folds; leave one of the two out")
        make_folds(_dividable(source), {}, folds, seed)  # refuses a number that cannot be, before the long work
    spacings = _check_all_grids(source, workers)
    settings = CaseSettings(
        Preprocessing(source.channels, _target_spacing(source, spacing, spacings), source.normalization),
        source.labels,
        source.remap,
    )
    _make_folder(out)
    _write_cases(source, settings, out, workers, progress)
    preprocessing, contents = _describe(source, settings.preprocessing, out, workers)
    write_json_atomic(out / "fingerprint.json", contents)
    _write_splits(source, out, folds, seed)
    write_json_atomic(out / "dataset.json", _dataset_json(source, preprocessing))
    _remove_other_cases(source, out)
    return open_store(out)


def _check_source(source: SourceDataset) -> None:
    ids = [case.id for case in source.cases]
    problems = [] if ids else ["no cases"]
    problems += [f"case {i}: this id occurs {ids.count(i)} times" for i in sorted(set(ids)) if ids.count(i) > 1]
    for case in source.cases:
        if not case.id.isprintable() or not case.id.strip() or set(case.id) & set("/\\"):
            problems.append(
                f"case {case.id!r}: an id is a name without slashes and control characters; rename image and label"
            )
        problems += [f"case {case.id}: {problem}" for problem in _case_problems(case, source)]
    problems += Splits(_named(source), source.folds).problems(_patients(source))
    wrong = sorted({value for value in (source.remap or {}).values() if not 0 <= value < len(source.labels)})
    if wrong:
        problems.append(f"remap leads to label values {wrong}, but there are {len(source.labels)} classes")
    for name in (*(source.scored or ()), *(name for pair in source.mirror_pairs for name in pair)):
        if name not in source.labels:
            problems.append(f"{name!r} is scored or mirrored, but is not a class{close_names(name, source.labels)}")
    _raise_problems(source.name, problems)


def _case_problems(case: CaseSource, source: SourceDataset) -> Iterable[str]:
    if case.split not in (*SPLITS, None):
        yield f"split is {case.split!r}, expected one of {', '.join(SPLITS)}"
    elif case.label is None and not case.classes and case.boxes is None and case.split != "test":
        yield f"no label, no class and no boxes, so it cannot be in split {case.split}; label it or leave it out"
    if case.label is None and len(source.labels) > UNLABELLED:
        yield f"no label, which a data set of {len(source.labels)} classes cannot say; leave it out, or merge classes"
    absent = [name for name, path in zip(source.channels, case.images, strict=False) if path is None]
    if absent and len(absent) == len(case.images):
        yield "no image; leave it out"
    for name in absent:
        if name not in source.optional_channels:
            yield f"no channel {name}, which is not declared to be one that may lack; add its file or declare it"


def _patients(source: SourceDataset) -> dict[str, str]:
    return {case.id: case.patient or case.id for case in source.cases}


def _named(source: SourceDataset) -> Members:
    return {split: [case.id for case in source.cases if case.split == split] for split in SPLITS}


def _dividable(source: SourceDataset) -> dict[str, str]:
    """Patient of each case that folds are made of."""
    return {case.id: case.patient or case.id for case in source.cases if case.split in ("train", "val")}


def _raise_problems(name: str, problems: Sequence[str]) -> None:
    if len(problems) == 1:
        raise DataError(f"{name}: {problems[0]}")
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise DataError(f"{name}: {len(problems)} problems; correct these files or take their cases out:{listed}")


def _check_all_grids(source: SourceDataset, workers: int) -> dict[str, Spacing]:
    """Check all headers before the long work begins; returns the spacing of each case."""
    problems, spacings = [], {}
    with ThreadPoolExecutor(workers) as pool:
        read = told(pool.map(check_grids, source.cases), len(source.cases), "headers read")
        for case, (grid, of_case) in zip(source.cases, read, strict=True):
            problems += [f"case {case.id}: {problem}" for problem in of_case]
            spacings[case.id] = grid and grid.canonical_spacing
    _raise_problems(source.name, problems)
    return spacings


def _target_spacing(
    source: SourceDataset, spacing: Sequence[float] | str | None, spacings: Mapping[str, Spacing]
) -> Spacing | None:
    wanted = source.spacing if isinstance(spacing, str) and spacing == "source" else spacing
    if not isinstance(wanted, str):
        return wanted
    if wanted != "median":
        raise ConfigError(f"spacing is {wanted!r}, expected three numbers (D, H, W) in mm, 'median' or None")
    # not of the split train alone: the same cases are prepared for every split and fold
    training = [spacings[case.id] for case in source.cases if case.split != "test"]
    return median_spacing(training or list(spacings.values()))


def _make_folder(out: Path) -> None:
    """Make the folder, and clear away what an interrupted run was building."""
    try:
        (out / "cases").mkdir(parents=True, exist_ok=True)
        for leftover in out.glob(f"cases/{PARTIAL}*"):
            shutil.rmtree(leftover)
    except OSError as error:
        raise output_error(out, error) from error


def _write_cases(
    source: SourceDataset, settings: CaseSettings, out: Path, workers: int, progress: Progress | None
) -> None:
    with ThreadPoolExecutor(workers) as pool:
        hashes = dict(zip((case.id for case in source.cases), pool.map(settings.hash, source.cases), strict=True))
    current = [case for case in source.cases if is_current(case_folder(out, case.id), hashes[case.id])]
    stale = [case for case in source.cases if case not in current]
    if stale:  # from here on the folder is not what an older dataset.json says
        _unlink(out / "dataset.json")

    def prepare(case: CaseSource) -> tuple[CaseSource, float, str | None]:
        started, problem = time.perf_counter(), None
        try:
            write_case(case, settings, case_folder(out, case.id), hashes[case.id])
        except DataError as error:
            problem = f"case {case.id}: {error}"
        return case, time.perf_counter() - started, problem

    def outcomes() -> Iterable[tuple[CaseSource, float, str | None]]:
        yield from ((case, 0.0, None) for case in current)
        yield from _side_by_side(prepare, stale, workers)

    problems = {}
    for done, (case, seconds, problem) in enumerate(outcomes(), start=1):
        if problem:
            problems[case.id] = problem
        if progress:
            progress(case.id, done, len(source.cases), seconds)
    _raise_problems(source.name, [problems[case.id] for case in source.cases if case.id in problems])


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def _side_by_side(work: Callable[[CaseSource], T], cases: Iterable[CaseSource], workers: int) -> Iterable[T]:
    """Yield results as they come; if anything is raised, Ctrl-C included, cases not yet begun are not begun."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, case) for case in cases]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _describe(
    source: SourceDataset, preprocessing: Preprocessing, out: Path, workers: int
) -> tuple[Preprocessing, dict[str, Any]]:
    """Return the preprocessing with its intensities, and the fingerprint, from the cases as they are stored."""
    training = [case for case in source.cases if case.split == "train" and case.label]
    if all(case.split != "train" for case in source.cases):  # only to be scored, by a checkpoint's own intensities
        training = [case for case in source.cases if case.label]
    training = training or [case for case in source.cases if case.split == "train" and case.boxes]

    def values(case: CaseSource) -> list[ChannelValues | None]:
        return channel_values(StoredCase.read(case_folder(out, case.id), _about(case)))

    def histograms(case: CaseSource):
        stored = StoredCase.read(case_folder(out, case.id), _about(case))
        foreground = stored.label
        if foreground is None:
            from densekit.ops.volume_boxes import inside

            foreground = inside(stored.boxes, stored.shape)
        found = foreground_histograms(stored.image, foreground, seed=list(case.id.encode()))
        present = [h for h, is_there in zip(found, stored.channels_present, strict=True) if is_there]
        return dict(zip(_present(source, case), present, strict=True)), stored.image.dtype.kind != "f"

    with ThreadPoolExecutor(workers) as pool:
        found = list(told(pool.map(histograms, training), len(training), "training cases measured"))
        measured = told(pool.map(values, source.cases), len(source.cases), "cases compared")
        scans = dict(zip((case.id for case in source.cases), measured, strict=True))
    summaries = [summarize(of_case[name] for of_case, _ in found if name in of_case) for name in source.channels]
    if preprocessing.normalization == "ct":
        if None in summaries:
            raise DataError(
                f"{source.name}: no voxel of the {len(training)} training cases is labelled or in a box, so the "
                f"intensities for CT normalisation are not known; put labelled cases into split train"
            )
        preprocessing = replace(preprocessing, intensity=tuple(ct_intensity(summary) for summary in summaries))
    for case_id, reason in cases_apart(scans, source.channels, preprocessing.normalization):
        logger.warning("case %s: %s", case_id, reason)
    preprocessing = replace(preprocessing, seen=_seen([scans[case.id] for case in training], preprocessing))
    descriptions = {case.id: read_description(case_folder(out, case.id)) for case in source.cases}
    _log_notes(descriptions)
    intensities = dict(zip(source.channels, summaries, strict=True))
    return preprocessing, fingerprint(descriptions, intensities, source.labels, exact=all(exact for _, exact in found))


def _seen(scans: Sequence[Sequence[ChannelValues | None]], preprocessing: Preprocessing) -> list[dict | None]:
    """What the training scans have in common, per channel."""
    intensities = preprocessing.intensity or [None] * len(preprocessing.channels)
    return [
        describe([scan[number] for scan in scans if scan[number] is not None], intensity)
        for number, intensity in enumerate(intensities)
    ]


def _present(source: SourceDataset, case: CaseSource) -> list[str]:
    return [name for name, path in zip(source.channels, case.images, strict=True) if path is not None]


def _write_splits(source: SourceDataset, out: Path, folds: int | None, seed: int) -> None:
    """Write the file of splits; one with other contents is kept under another name, it may have been edited."""
    splits = Splits(_named(source), source.folds)
    if folds is not None:
        dividable = _dividable(source)
        made = make_folds(dividable, {case.id: _tags(case, out) for case in source.cases}, folds, seed)
        splits = replace(splits, folds=made, by="patient", stratified="class presence", seed=seed)
    path = out / SPLIT_FILE
    before = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    splits.write(path)
    if before not in (None, path.read_text(encoding="utf-8")):
        write_text_atomic(path.with_name(PREVIOUS), before)
        logger.warning("%s: written anew with other splits; what it was is in %s", path, PREVIOUS)


def _tags(case: CaseSource, out: Path) -> set[tuple[str, str]]:
    """What each fold should have its share of: classes of patients, and those of which a case has voxels or boxes."""
    volumes = read_description(case_folder(out, case.id))["volumes_ml"] or {}
    boxes = case.boxes.labels if case.boxes else ()
    found = {*case.classes.items(), *(("voxels of", name) for name, ml in volumes.items() if ml > 0)}
    return found | {("boxes of", name) for name in boxes}


def _log_notes(descriptions: Mapping[str, Mapping[str, Any]]) -> None:
    cases: dict[str, list[str]] = {}
    for case_id, description in descriptions.items():
        for note in description["notes"]:
            cases.setdefault(note.removeprefix(CAUTION), []).append(case_id)
    for note, ids in cases.items():
        some = few(ids)
        logger.warning("%s (case%s %s)", note, "s" if len(ids) > 1 else "", some)


def _remove_other_cases(source: SourceDataset, out: Path) -> None:
    """Remove prepared cases that are no longer in the source."""
    wanted = {case_folder(out, case.id).name for case in source.cases}
    for folder in (out / "cases").iterdir():
        if folder.name not in wanted and (folder / "case.json").is_file():
            logger.warning("%s: removed, the case is no longer in the data set", folder)
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise output_error(folder, error) from error


def _dataset_json(source: SourceDataset, preprocessing: Preprocessing) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": source.name,
        "layout": source.layout,
        "labels": list(source.labels),
        "scored": list(source.labels[1:] if source.scored is None else source.scored),
        "mirror_pairs": [list(pair) for pair in source.mirror_pairs],
        "convention": source.convention,
        "cases": {case.id: _about(case) for case in source.cases},
        "classes": {name: categories(values) for name, values in _classes(source).items()},
        "meta": meta_columns(case.meta for case in source.cases),
        **({"box_classes": list(source.box_classes)} if source.box_classes else {}),
        "preprocessing": preprocessing.to_dict(),
        "remap": None if source.remap is None else {str(raw): stored for raw, stored in source.remap.items()},
        "notes": list(source.notes),
    }


def _about(case: CaseSource) -> dict[str, Any]:
    """What the data set knows of a case; a change of it does not make the case anew."""
    targets = {"classes": dict(case.classes), "meta": dict(case.meta)}
    return {"patient": case.patient or case.id, **{key: values for key, values in targets.items() if values}}


def _classes(source: SourceDataset) -> dict[str, list[str]]:
    """Return the classes of patients by column over all cases, in the order of their appearance."""
    found: dict[str, list[str]] = {}
    for case in source.cases:
        for name, value in case.classes.items():
            found.setdefault(name, []).append(value)
    return found
