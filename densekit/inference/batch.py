"""Predicting many scans: one bad scan costs that scan, a stopped run can be continued, a ledger says what made what."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from densekit import __version__
from densekit.errors import DensekitError, OutputError
from densekit.inference.cases import Case, find_cases
from densekit.inference.export import publish, staging_folder, write_checked
from densekit.inference.ledger import Ledger, sha256
from densekit.inference.predictor import Prediction, VolumePredictor
from densekit.inference.progress import BatchProgress
from densekit.io import labels_json, output_error, write_text_atomic
from densekit.visualization.montage import write_montage
from densekit.visualization.report import CaseReport, write_prediction_report

logger = logging.getLogger("densekit")

SOME_FAILED = 3
INTERRUPTED = 130

_TABLES = ("volumes.csv", "report.html")


@dataclass(frozen=True)
class CaseResult:
    """What became of one case.

    Attributes:
        case: The case.
        status: ``"ok"``, ``"kept"`` (an earlier run's result, the same by its hashes), ``"failed"`` or ``"not run"``.
        facts: The ledger's entry of the case; empty if it was not run.
    """

    case: Case
    status: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """Why it failed, in one line."""
        return self.facts.get("reason")

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume in ml by structure name; empty unless there is a result."""
        return {s["name"]: s["volume_ml"] for s in self.facts.get("structures", [])}


@dataclass(frozen=True)
class BatchResult:
    """What became of a run.

    Attributes:
        exit_status: 0 all predicted, 3 some (or all) failed, 130 stopped by Ctrl-C.
        rows: All cases, in the order they were found.
        out: Output folder.
    """

    exit_status: int
    rows: list[CaseResult]
    out: Path

    @property
    def cases(self) -> list[CaseReport]:
        """What reports show of the cases that were run or kept."""
        return [_report(row, self.out) for row in self.rows if row.status != "not run"]

    def render(self) -> str:
        """A table for the screen: how many of what, and which failed and why."""
        counts = Counter(row.status for row in self.rows)
        words = {"ok": "predicted", "kept": "kept from before", "failed": "failed", "not run": "not run"}
        summary = ", ".join(f"{counts[status]} {word}" for status, word in words.items() if counts[status])
        failed = [row for row in self.rows if row.status == "failed"]
        width = max((len(row.case.id) for row in failed), default=0)
        lines = [f"  failed  {row.case.id:<{width}}  {row.reason}" for row in failed]
        return "\n".join([f"{summary}; results in {self.out}", *lines])


def predict_many(
    checkpoint: str | Path,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    device: str | torch.device = "auto",
    overlap: float | None = None,
    batch: int | None = None,
    overwrite: bool = False,
) -> BatchResult:
    """Predict scans: label maps, volumes in ml, pictures and a report.

    Per case it writes ``<case>.nii.gz`` (in the scan's format, on exactly its grid), ``<case>.labels.json`` and
    ``<case>.png``; for all cases of the run ``volumes.csv`` and ``report.html``; and ``predictions.json``, the folder's
    ledger. A result that is already there is kept if the ledger proves by hashes that this run would make the same.
    Ctrl-C ends the run with everything finished so far complete on disk. Progress and the table of failures are logged.

    Args:
        checkpoint: ``best.pth``; it carries preprocessing, labels and settings.
        inputs: Volume files, folders of volumes, globs; see :func:`densekit.inference.cases.find_cases`.
        out: Output folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        overlap: Replaces the checkpoint's overlap of neighbouring windows.
        batch: Replaces the checkpoint's windows per forward pass.
        overwrite: Replace results that are there and are not the same.

    Raises:
        DataError: if the inputs hold no volume.
        CheckpointError: if the checkpoint cannot be used.
        ConfigError: if a setting cannot be or the device is not there.
        OutputError: if the folder cannot be written, the disk is full, or a file is in the way without ``overwrite``.
    """
    out = Path(out)
    predictor = VolumePredictor.from_checkpoint(checkpoint, device=device, overlap=overlap, batch=batch)
    cases = find_cases(inputs, channels=len(predictor.preprocessing.channels), out=out)
    _check_writable(out)
    # The number of windows at a time changes the speed, not the result.
    settings = {key: value for key, value in predictor.inference.items() if key != "batch"}
    ledger = Ledger(out / "predictions.json", weights=sha256(Path(checkpoint)), settings=settings)
    kept = _results_to_keep(cases, out, ledger, overwrite=overwrite)
    ledger.start(checkpoint=str(checkpoint), device=str(predictor.device), inference=predictor.inference)
    logger.info("%d scans on %s, %d of them already done", len(cases), predictor.device, len(kept))
    return _Run(predictor, ledger, out, cases, kept).run()


def _check_writable(out: Path) -> None:
    with staging_folder(out) as folder:
        try:
            (folder / "probe").write_bytes(b"0")
        except OSError as error:
            raise output_error(out, error) from error


def _results_to_keep(cases: Sequence[Case], out: Path, ledger: Ledger, *, overwrite: bool) -> set[str]:
    """Case ids whose results are there and proved to be what this run would make.

    Raises:
        OutputError: if something else is in the way; an input is never overwritten.
    """
    inputs = {path.resolve() for case in cases for path in case.paths}
    foreign = [name for name in _TABLES if (out / name).exists()] if ledger.is_new else []
    in_the_way = [f"{name} (not made by densekit, as far as its ledger says)" for name in foreign]
    kept = set()
    for case in cases:
        output = out / case.output_name
        if output.resolve() in inputs:
            raise OutputError(f"{output}: the result would replace this input; choose another --out than that folder")
        if not output.exists():
            continue
        mismatch = ledger.mismatch(case, output)
        if mismatch is None:
            kept.add(case.id)
        else:
            in_the_way.append(f"{output.name} ({mismatch})")
    if in_the_way and not overwrite:
        more = f" and {len(in_the_way) - 1} more files" if len(in_the_way) > 1 else ""
        raise OutputError(f"{out}: in the way: {in_the_way[0]}{more}; give --overwrite to replace, or another --out")
    return kept


class _Run:
    """One run over all cases."""

    def __init__(self, predictor: VolumePredictor, ledger: Ledger, out: Path, cases: Sequence[Case], kept: set[str]):
        self.predictor, self.ledger, self.out, self.cases, self.kept = predictor, ledger, out, cases, kept
        self.rows = {case.id: CaseResult(case, "not run") for case in cases}
        self.progress = BatchProgress(len(cases))

    def run(self) -> BatchResult:
        try:
            for case in self.cases:
                self.progress.begin(case.id)
                if case.id in self.kept:
                    self._keep(case)
                else:
                    self._predict(case)
            failed = any(row.status == "failed" for row in self.rows.values())
            result = self._summarize(SOME_FAILED if failed else 0)
            self.ledger.finish("finished")
        except KeyboardInterrupt:
            self.ledger.finish("interrupted")
            result = self._summarize(INTERRUPTED)
        except OutputError as error:
            # The output folder takes nothing any more (disk full, share gone): no case after this one can succeed.
            self._finish_if_possible(f"stopped: {error}")
            raise
        finally:
            self.progress.close()
        logger.info("%s", result.render())
        return result

    def _finish_if_possible(self, status: str) -> None:
        try:
            self.ledger.finish(status)
        except OutputError as error:
            logger.debug("the ledger cannot be written either: %s", error)

    def _keep(self, case: Case) -> None:
        self.rows[case.id] = CaseResult(case, "kept", self.ledger.entry(case))
        self.progress.end("kept, nothing has changed since", predicted=False)

    def _predict(self, case: Case) -> None:
        start = time.monotonic()
        try:
            facts = self._results(case, start)
        except Exception as error:  # whatever is wrong with one scan must not cost the others
            if isinstance(error, OutputError) and isinstance(error.__cause__, OSError):
                raise
            logger.debug("%s failed", case.id, exc_info=True)
            facts = {"status": "failed", "reason": self._reason(case, error), "seconds": _since(start)}
            self.ledger.record(case, **facts)
        self.rows[case.id] = CaseResult(case, facts["status"], facts)
        if facts["status"] == "ok":
            self.progress.end(f"done in {facts['seconds']['total']:.1f} s")
        else:
            self.progress.end(f"failed: {facts['reason']}", predicted=False)

    def _results(self, case: Case, start: float) -> dict[str, Any]:
        """Predict a case and write its files. They appear only when all are whole, checked and in the ledger."""
        case.check_channels(self.predictor.preprocessing.channels)
        prediction = self.predictor.predict(case.paths, progress=self.progress.windows)
        with staging_folder(self.out) as folder:
            draft = folder / case.output_name
            written = time.monotonic()
            write_checked(draft, prediction.labels, prediction.geometry, like=case.paths[0], names=prediction.names)
            seconds = prediction.seconds | {"write": _since(written)["total"]}
            notes = [*prediction.notes, *_picture(folder / f"{case.id}.png", case, prediction)]
            facts = {
                "status": "ok",
                "inputs_sha256": [sha256(path) for path in case.paths],
                "output": case.output_name,
                "output_sha256": sha256(draft),
                "label_names": labels_json(draft).name,
                "shape": list(prediction.geometry.shape),
                "spacing": list(prediction.geometry.spacing),
                "structures": [vars(structure) for structure in prediction.structures],
                "notes": notes,
                "seconds": seconds | _since(start),
                "peak_mb": prediction.peak_mb,
            }
            # Ledger before files: killed in between, the file is missing and the case runs again; the other way round
            # there would be a file that nothing vouches for.
            self.ledger.record(case, **facts)
            publish(folder, self.out, last=case.output_name)
        return facts

    def _reason(self, case: Case, error: Exception) -> str:
        stale = (self.out / case.output_name).exists()
        return _reason(error) + f" ({case.output_name} in the folder is an older result)" * stale

    def _summarize(self, status: int) -> BatchResult:
        """Write the tables over all cases."""
        result = BatchResult(status, list(self.rows.values()), self.out)
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
                **self.predictor.inference,
                "densekit": __version__,
                "torch": torch.__version__,
            },
        )
        return result


def _picture(path: Path, case: Case, prediction: Prediction) -> list[str]:
    """Draw the montage; a scan that cannot be drawn keeps its label map, with a note."""
    try:
        write_montage(
            path,
            prediction.image[0],
            prediction.labels,
            names=prediction.names,
            spacing=prediction.geometry.canonical_spacing,
            title=case.id,
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
        volumes_ml=row.volumes_ml,
        notes=facts.get("notes", []),
        seconds=facts["seconds"]["total"],
        picture=None if failed or not picture.exists() else picture,
        spacing=facts.get("spacing", ()),
        shape=facts.get("shape", ()),
    )


def _volumes_csv(rows: Iterable[CaseResult]) -> str:
    """One line per case and structure; a case without a result has one line with empty cells: it is not left out."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", "status", "label", "structure", "volume_ml", "voxels", "touches_border", "reason"])
    for row in rows:
        for s in row.facts.get("structures", []):
            borders = " ".join(s["touches_border"])
            volume = f"{s['volume_ml']:.6g}"
            table.writerow([row.case.id, row.status, s["label"], s["name"], volume, s["voxels"], borders, ""])
        if not row.facts.get("structures"):
            table.writerow([row.case.id, row.status, "", "", "", "", "", row.reason or ""])
    return text.getvalue()


def _reason(error: Exception) -> str:
    """One line: our own errors say what to do; of others the kind is named too."""
    text = " ".join(str(error).split())
    if isinstance(error, DensekitError):
        return text
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "the accelerator's memory does not hold one window; give --device cpu, or free it"
    if isinstance(error, MemoryError):
        return f"this machine's memory does not hold the scan ({text or 'MemoryError'}); use a larger one"
    return f"{type(error).__name__}: {text}"


def _since(start: float) -> dict[str, float]:
    return {"total": round(time.monotonic() - start, 3)}
