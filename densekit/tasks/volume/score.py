"""Scoring a network of volumes: every case goes the way of ``densekit predict``, scans on their own grids."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from densekit.datasets.volume.check import gone_scans, moved
from densekit.datasets.volume.store import open_store
from densekit.errors import CheckpointError, DataError, DensekitError
from densekit.evaluation.volume import ScoreTable, score_case
from densekit.evaluation.volume.score import check_settings
from densekit.inference.volume.predictor import VolumePredictor
from densekit.io.staging import score_folder
from densekit.package.seen import leak, trained_on
from densekit.progress import Lines
from densekit.structures.class_names import by_name, respelt

logger = logging.getLogger("densekit")


def score_volumes(
    predictor: VolumePredictor,
    data: str | Path,
    split: str | None = None,
    *,
    out: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    convention: str | None = None,
    fold: int | None = None,
    no_surface: bool = False,
) -> ScoreTable:
    """Score a network on the cases of a split.

    Every case's source file is read, preprocessed as the network has it, predicted, and brought back to the file's own
    grid, where it is compared with the reference. So the score is that of what a user gets.

    Args:
        predictor: What is scored, of a checkpoint.
        data: Prepared folder.
        split: Split to score, or several joined by ``+``; default ``test``.
        out: Folder for ``scores.csv`` and ``scores.json``; default ``test_<checkpoint>_<split>`` beside it.
        progress: Called with (case id, cases done, total).
        convention: Empty-mask convention; default the data set's own.
        fold: Fold of the splits; default the named ones.
        no_surface: Dice only, without HD95 and surface Dice.

    Returns:
        The table; cases that could not be predicted or read are listed in it as failures.

    Raises:
        CheckpointError: if the checkpoint has other classes than the data set.
        DataError: if there is no such split, or it is empty.
        ConfigError: for a convention that is not known.
        OutputError: if the folder cannot be written.
    """
    split, checkpoint = split or "test", predictor.checkpoint
    store = open_store(Path(data), fold)
    matched = by_name(predictor.labels, store.labels)
    if [matched.get(name) for name in store.labels] != list(predictor.labels):
        raise CheckpointError(
            f"{checkpoint.path}: predicts {len(predictor.labels)} classes ({', '.join(predictor.labels[:4])} ...), but "
            f"{store.path} has {len(store.labels)} ({', '.join(store.labels[:4])} ...); score it on the data set it "
            f"was trained for"
        )
    if words := respelt(matched):
        logger.warning("%s: %s", store.path, words)
    ids = list(dict.fromkeys(store.ids(split)))
    if not ids:
        raise DataError(f"{store.path}: split {split!r} has no cases; choose another with --split")
    gone = gone_scans(store, ids)
    if len(gone) == len(ids):
        raise DataError(f"{store.path}: {moved(gone, len(ids))}; or prepare them again")
    convention = convention or store.convention
    check_settings(store.labels, store.scored, convention, 1.0)  # before the long work
    folder = score_folder(out, checkpoint.path, split)  # before it as well
    for line in leak(trained_on(checkpoint), store.hashes(ids), split, checkpoint.path):
        logger.warning(line)
    scores, failures = [], {}
    for done, case_id in enumerate(ids):
        if progress:
            progress(case_id, done, len(ids))
        try:
            reference = store.read_reference(case_id)  # before the long work as well
            prediction = predictor.predict(store.case(case_id).image_files(), progress=_windows(case_id))
            scores += score_case(
                prediction.labels,
                reference,
                case_id=case_id,
                labels=store.labels,
                scored=store.scored,
                spacing=prediction.geometry.canonical_spacing,
                convention=convention,
                surface=not no_surface,
            )
        except DensekitError as error:
            failures[case_id] = str(error)
    table = ScoreTable(scores, failures=failures)
    table.to_csv(folder / "scores.csv")
    table.to_json(folder / "scores.json")
    logger.info("scores.csv and scores.json are in %s", folder)
    return table


def _windows(case_id: str) -> Callable[[int, int], None]:
    """Tells of a case that takes long how many of its windows are done."""
    lines = Lines(logger.info)
    return lambda done, total: lines(done, total, f"{case_id}: window {done} of {total}")
