"""Predicting many scans: one bad scan costs that scan, a stopped run can be continued, a ledger says what made what."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from densekit import __version__
from densekit.inference.ledger import LEDGER, Ledger, sha256
from densekit.inference.run import BatchRun, CaseResult, RunResult, check_writable, results_to_keep, since
from densekit.inference.volume.export import write_checked
from densekit.inference.volume.prediction import Prediction
from densekit.inference.volume.predictor import VolumePredictor
from densekit.inference.volume.scans import ScanCase, find_scans
from densekit.io import labels_json, write_text_atomic
from densekit.io.staging import publish, staging_folder
from densekit.package import Checkpoint
from densekit.progress import BatchProgress
from densekit.structures.notes import doubt
from densekit.visualization.volume.montage import write_montage
from densekit.visualization.volume.report import CaseReport, write_prediction_report

logger = logging.getLogger("densekit")

_TABLES = ("volumes.csv", "report.html")


@dataclass(frozen=True, repr=False)
class BatchResult(RunResult):
    """What became of a run over scans."""

    @property
    def volumes_ml(self) -> dict[str, dict[str, float]]:
        """By case, the volume in ml by structure name; empty for a case without a result or a known spacing."""
        return {row.case.id: _volumes_ml(row) for row in self.rows}

    @property
    def cases(self) -> list[CaseReport]:
        """What reports show of the cases that were run or kept."""
        return [_report(row, self.out) for row in self.rows if row.status != "not run"]


def predict_many(
    checkpoint: Checkpoint,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    device: str | torch.device = "auto",
    overlap: float | None = None,
    batch: int | None = None,
    overwrite: bool = False,
    strict: bool = False,
) -> BatchResult:
    """Predict scans: label maps, volumes in ml, pictures and a report.

    Per case it writes ``<case>.nii.gz`` (in the scan's format, on exactly its grid), ``<case>.labels.json`` and
    ``<case>.png``; for all cases of the run ``volumes.csv`` and ``report.html``; and ``predictions.json``, the folder's
    ledger. A result that is already there is kept if the ledger proves by hashes that this run would make the same.
    Ctrl-C ends the run with everything finished so far complete on disk. Progress and the table of failures are logged.

    Args:
        checkpoint: It carries preprocessing, labels and settings.
        inputs: Volume files, folders of volumes, globs; see :func:`densekit.inference.volume.scans.find_scans`.
        out: Output folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        overlap: Replaces the checkpoint's overlap of neighbouring windows.
        batch: Replaces the checkpoint's windows per forward pass.
        overwrite: Replace results that are there and are not the same.
        strict: A scan whose intensities cannot be those of the training fails, in place of a note.

    Raises:
        DataError: if the inputs hold no volume.
        CheckpointError: if the checkpoint cannot be used.
        ConfigError: if a setting cannot be or the device is not there.
        OutputError: if the folder cannot be written, the disk is full, or a file is in the way without ``overwrite``.
    """
    out = Path(out)
    predictor = VolumePredictor.from_checkpoint(checkpoint, device=device, overlap=overlap, batch=batch, strict=strict)
    cases = find_scans(inputs, channels=len(predictor.preprocessing.channels), out=out)
    check_writable(out)
    # The number of windows at a time changes the speed, not the result.
    inference = predictor.settings.to_dict()
    settings = {key: value for key, value in inference.items() if key != "batch"}
    ledger = Ledger(out / LEDGER, task=predictor.task, weights=checkpoint.sha256, settings=settings)
    kept = results_to_keep(cases, out, ledger, tables=_TABLES, overwrite=overwrite)
    if strict:  # a result that has only a note against it was made by a run that was not
        kept -= {case.id for case in cases if case.id in kept and doubt(ledger.entry(case).get("notes", []))}
    ledger.start(checkpoint=str(checkpoint.path), device=str(predictor.device), inference=inference)
    logger.info("%d scans on %s, %d of them already done", len(cases), predictor.device, len(kept))
    return _VolumeRun(predictor, ledger, out, cases, kept).run()


class _VolumeRun(BatchRun):
    """One run over all scans."""

    part, whole = "window", "scan"

    def __init__(
        self, predictor: VolumePredictor, ledger: Ledger, out: Path, cases: Sequence[ScanCase], kept: set[str]
    ):
        super().__init__(ledger, out, cases, kept, BatchProgress(len(cases)))
        self.predictor = predictor

    def results(self, case: ScanCase, start: float) -> dict[str, Any]:
        """Predict a case and write its files. They appear only when all are whole, checked and in the ledger."""
        case.check_channels(self.predictor.preprocessing.channels)
        prediction = self.predictor.predict(case.paths, progress=self.progress.windows)
        with staging_folder(self.out) as folder:
            draft = folder / case.output_name
            written = time.monotonic()
            write_checked(draft, prediction.labels, prediction.geometry, like=case.paths[0], names=prediction.names)
            seconds = prediction.seconds | {"write": since(written)["total"]}
            notes = [*prediction.notes, *_picture(folder / f"{case.id}.png", case, prediction)]
            facts = {
                "status": "ok",
                "inputs_sha256": [sha256(path) for path in case.paths],
                "output": case.output_name,
                "output_sha256": sha256(draft),
                "label_names": labels_json(draft).name,
                **prediction.to_dict(),
                "notes": notes,
                "seconds": seconds | since(start),
            }
            # Ledger before files: killed in between, the file is missing and the case runs again; the other way round
            # there would be a file that nothing vouches for.
            self.ledger.record(case, **facts)
            publish(folder, self.out, last=case.output_name)
        return facts

    def summarize(self, status: int) -> BatchResult:
        """Write the tables over all cases."""
        result = BatchResult(status, list(self.rows.values()), self.out, _TABLES)
        write_text_atomic(self.out / "volumes.csv", _volumes_csv(result.rows))
        stopped = len(result.cases) < len(result.rows)
        write_prediction_report(
            self.out / "report.html",
            title=f"Predictions, stopped after {len(result.cases)} of {len(result.rows)}" if stopped else "Predictions",
            cases=result.cases,
            labels=self.predictor.labels,
            settings={
                "weights (sha256)": self.ledger.weights,
                "device": str(self.predictor.device),
                **vars(self.predictor.settings),
                "densekit": __version__,
                "torch": torch.__version__,
            },
        )
        return result


def _picture(path: Path, case: ScanCase, prediction: Prediction) -> list[str]:
    """Draw the montage; a scan that cannot be drawn keeps its label map, with a note."""
    try:
        write_montage(
            path,
            prediction.image[0],
            prediction.labels,
            names=prediction.names,
            spacing=prediction.geometry.canonical_spacing,
            title=case.id,
            remark=doubt(prediction.notes),
        )
    except ValueError as error:
        return [f"no picture: {error}"]
    return []


def _report(row: CaseResult, out: Path) -> CaseReport:
    facts, picture = row.facts, out / f"{row.case.id}.png"
    failed = row.status == "failed"
    return CaseReport(
        case_id=row.case.id,
        status="failed" if failed else "ok",
        reason=row.reason,
        volumes_ml=_volumes_ml(row),
        notes=facts.get("notes", []),
        seconds=facts["seconds"]["total"],
        picture=None if failed or not picture.exists() else picture,
        spacing=facts.get("spacing", ()),
        shape=facts.get("shape", ()),
    )


def _volumes_ml(row: CaseResult) -> dict[str, float]:
    return {s["name"]: s["volume_ml"] for s in row.facts.get("structures", []) if s["volume_ml"] is not None}


def _volumes_csv(rows: Iterable[CaseResult]) -> str:
    """One line per case and structure; a case without a result has one line with empty cells: it is not left out."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", "status", "label", "structure", "volume_ml", "voxels", "touches_border", "reason"])
    for row in rows:
        for s in row.facts.get("structures", []):
            borders = " ".join(s["touches_border"])
            volume = "" if s["volume_ml"] is None else f"{s['volume_ml']:.6g}"
            table.writerow([row.case.id, row.status, s["label"], s["name"], volume, s["voxels"], borders, ""])
        if not row.facts.get("structures"):
            table.writerow([row.case.id, row.status, "", "", "", "", "", row.reason or ""])
    return text.getvalue()
