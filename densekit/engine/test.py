"""``densekit test``: score a checkpoint on a split, scans on their own grids."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from densekit.datasets.volume.store import open_store
from densekit.engine.config import load_config, make_plan
from densekit.engine.detection import DetectionPlan
from densekit.engine.score_detector import DetectionTable, score_detector, score_folder
from densekit.errors import CheckpointError, ConfigError, DataError, DensekitError
from densekit.evaluation.volume import ScoreTable, score_case
from densekit.evaluation.volume.score import check_settings
from densekit.inference.volume.predictor import VolumePredictor

logger = logging.getLogger("densekit")

USED = {
    "volume": ("data_root", "convention"),
    "detection": ("data_root", "data_format", "classes", "val_split", "num_workers", "max_dets"),
}
"""Keys of a config that a test reads, by task."""


def test(
    config: str | Path,
    checkpoint: str | Path,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    out: str | Path | None = None,
    convention: str | None = None,
    surface: bool = True,
    device: str = "auto",
    options: Sequence[str] = (),
    progress=None,
) -> ScoreTable | DetectionTable:
    """Score a checkpoint on the cases of a split.

    Detectors: see :func:`densekit.engine.score_detector.score_detector`. Volumes: every case goes the way of
    ``densekit predict``: its source file is read, preprocessed as the checkpoint says, predicted, and brought back to
    the file's own grid, where it is compared with the reference. So the score is that of what a user gets.

    Args:
        config: Config the checkpoint was trained with (names the data set).
        checkpoint: ``best.pth`` or ``last.pth``.
        data: Prepared folder that replaces the config's ``data_root``.
        split: Split to score; of volumes several may be joined by ``+``. Default: ``test`` for volumes, the config's
            ``val_split`` for detectors.
        out: Folder for ``scores.csv`` and ``scores.json``; default ``test_<checkpoint>_<split>`` beside it.
        convention: Volumes only: empty-mask convention; default the data set's own.
        surface: Volumes only: also HD95 and surface Dice.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...
        options: ``key=value`` overrides of the config, of the keys in :data:`USED`.
        progress: Called with (case id, cases done, total).

    Returns:
        The table; cases that could not be predicted or read are listed in it as failures, never left out.

    Raises:
        ConfigError, DataError, CheckpointError: for what the user can put right.
    """
    plan = make_plan(load_config(config, options), data)
    for option in options:
        key = option.partition("=")[0].partition(".")[0]
        if key not in USED[plan.task]:
            raise ConfigError(
                f"--cfg-options {option}: does nothing here, network and transforms are the checkpoint's; what can be "
                f"set is {', '.join(USED[plan.task])}"
            )
    if isinstance(plan, DetectionPlan):
        for option, given in (("--convention", convention is not None), ("--no-surface", not surface)):
            if given:
                raise ConfigError(f"{option}: is for volumes, and {config} finds objects in pictures; leave it out")
        return score_detector(plan, checkpoint, split=split, out=out, device=device, progress=progress)
    split = split or "test"
    store = open_store(plan.root)
    predictor = VolumePredictor.from_checkpoint(checkpoint, device=device)
    if list(predictor.labels) != list(store.labels):
        raise CheckpointError(
            f"{checkpoint}: predicts {len(predictor.labels)} classes ({', '.join(predictor.labels[:4])} ...), but "
            f"{plan.root} has {len(store.labels)} ({', '.join(store.labels[:4])} ...); score it on the data set it was "
            f"trained for"
        )
    ids = plan.cases(split)
    if not ids:
        raise DataError(f"{plan.root}: split {split!r} has no cases; choose another with --split")
    convention = convention or plan.convention
    check_settings(store.labels, store.scored, convention, 1.0)  # before the long work
    folder = score_folder(out, checkpoint, split)  # before it as well
    scores, failures = [], {}
    for done, case_id in enumerate(ids):
        if progress:
            progress(case_id, done, len(ids))
        try:
            prediction = predictor.predict([Path(p) for p in store.case(case_id).sources["images"]])
            reference = store.read_reference(case_id)
            scores += score_case(
                prediction.labels,
                reference,
                case_id=case_id,
                labels=store.labels,
                scored=store.scored,
                spacing=prediction.geometry.canonical_spacing,
                convention=convention,
                surface=surface,
            )
        except DensekitError as error:
            failures[case_id] = str(error)
    table = ScoreTable(scores, failures=failures)
    table.to_csv(folder / "scores.csv")
    table.to_json(folder / "scores.json")
    logger.info("scores.csv and scores.json are in %s", folder)
    return table
