"""What runs over scans and over images have in common: one bad case costs that case, and nothing is overwritten."""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from densekit.errors import DensekitError, OutputError, spoken
from densekit.inference.inputs import Case
from densekit.inference.ledger import Ledger
from densekit.io import output_error
from densekit.io.staging import staging_folder
from densekit.progress import BatchProgress
from densekit.structures.notes import few_of_each, weighs

logger = logging.getLogger("densekit")

SOME_FAILED = 3
INTERRUPTED = 130


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


@dataclass(frozen=True, repr=False)
class RunResult:
    """What became of a run.

    Attributes:
        exit_status: 0 all predicted, 3 some (or all) failed, 130 stopped by Ctrl-C.
        rows: All cases, in the order they were found.
        out: Output folder.
        tables: Names of the files over all cases.
    """

    exit_status: int
    rows: list[CaseResult]
    out: Path
    tables: tuple[str, ...] = ()

    @property
    def notes(self) -> dict[str, list[str]]:
        """By case, what changes the meaning of its result: doubts, and what was assumed, repaired or left out."""
        return {r.case.id: found for r in self.rows if (found := list(filter(weighs, r.facts.get("notes", ()))))}

    def __repr__(self) -> str:
        return self.render()

    def render(self) -> str:
        """A table for the screen: how many of what, which failed and why, and notes that change the meaning."""
        counts = Counter(row.status for row in self.rows)
        words = {"ok": "predicted", "kept": "kept from before", "failed": "failed", "not run": "not run"}
        summary = ", ".join(f"{counts[status]} {word}" for status, word in words.items() if counts[status])
        failed = [row for row in self.rows if row.status == "failed"]
        width = max((len(row.case.id) for row in failed), default=0)
        lines = [f"  failed  {row.case.id:<{width}}  {row.reason}" for row in failed]
        lines += [f"  {line}" for line in few_of_each((name, note) for name, of in self.notes.items() for note in of)]
        return "\n".join([f"{summary}; results in {self.out}", *lines])


def check_writable(out: Path) -> None:
    """See before any work that the output folder takes files.

    Raises:
        OutputError: if it does not.
    """
    with staging_folder(out) as folder:
        try:
            (folder / "probe").write_bytes(b"0")
        except OSError as error:
            raise output_error(out, error) from error


def results_to_keep(
    cases: Sequence[Case], out: Path, ledger: Ledger, *, tables: Sequence[str], overwrite: bool
) -> set[str]:
    """Case ids whose results are there and proved to be what this run would make.

    Args:
        cases: All cases.
        out: Output folder.
        ledger: Its ledger.
        tables: Names of the files over all cases.
        overwrite: Replace what is in the way.

    Raises:
        OutputError: if something else is in the way; an input is never overwritten.
    """
    inputs = {os.path.realpath(path) for case in cases for path in case.paths}  # of a link what it leads to
    foreign = [name for name in tables if (out / name).exists()] if ledger.is_new else []
    in_the_way = [f"{name} (not made by densekit, as far as its ledger says)" for name in foreign]
    kept = set()
    for case in cases:
        for name in case.output_names:
            if os.path.realpath(out / name) in inputs:
                raise OutputError(
                    f"{out / name}: the result would replace this input; choose another --out than that folder"
                )
        if not case.is_readable():  # fails by itself, and what an earlier run made of it stays
            continue
        present = [name for name in case.output_names if (out / name).exists()]
        if not present:
            continue
        entry = ledger.entry(case)
        if case.output_name in present:
            mismatch = ledger.mismatch(case, out / case.output_name)
        else:  # the run was killed before the last file, or somebody removed it: made again if the rest is ours
            mismatch = None if entry else "not made by densekit, as far as its ledger says"
        if mismatch is not None:
            in_the_way.append(f"{present[-1]} ({mismatch})")
        elif all((out / name).exists() for name in entry.get("files", [case.output_name])):
            kept.add(case.id)
    if in_the_way and not overwrite:
        more = f" and {len(in_the_way) - 1} more files" if len(in_the_way) > 1 else ""
        raise OutputError(f"{out}: in the way: {in_the_way[0]}{more}; give --overwrite to replace, or another --out")
    return kept


class BatchRun(ABC):
    """One run over all cases.

    Args:
        ledger: Of the output folder.
        out: Output folder.
        cases: All cases, in order.
        kept: Ids of those whose results stay.
        progress: Told what happens.
    """

    part: ClassVar[str]
    """What of a case must fit the accelerator's memory."""
    whole: ClassVar[str]
    """What a case is."""

    def __init__(self, ledger: Ledger, out: Path, cases: Sequence[Case], kept: set[str], progress: BatchProgress):
        self.ledger, self.out, self.cases, self.kept, self.progress = ledger, out, cases, kept, progress
        self.rows = {case.id: CaseResult(case, "not run") for case in cases}

    @abstractmethod
    def results(self, case: Case, start: float) -> dict[str, Any]:
        """Predict a case that began at ``start`` (monotonic seconds), write its files, return the ledger's facts."""

    @abstractmethod
    def summarize(self, status: int) -> RunResult:
        """Write the tables over all cases."""

    def record(self, case: Case, **facts: Any) -> None:
        """Enter a case in the ledger."""
        self.ledger.record(case, **facts)

    def commit(self) -> None:
        """Bring to the output folder what was held back, if anything; called before the tables are written."""
        self.ledger.save()

    def run(self) -> RunResult:
        """Go over the cases.

        Raises:
            OutputError: if the output folder takes nothing any more.
        """
        try:
            for case in self.cases:
                self.progress.begin(case.id)
                if case.id in self.kept:
                    self._keep(case)
                else:
                    self._predict(case)
            self.commit()
            failed = any(row.status == "failed" for row in self.rows.values())
            result = self.summarize(SOME_FAILED if failed else 0)
            self.ledger.finish("finished")
        except KeyboardInterrupt:
            self.commit()
            self.ledger.finish("interrupted")
            result = self.summarize(INTERRUPTED)
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
            facts = self.results(case, start)
        except Exception as error:  # whatever is wrong with one case must not cost the others
            if isinstance(error, OutputError) and getattr(error.__cause__, "errno", None) is not None:
                raise  # the disk's own error; one without errno is about what was to be written
            logger.debug("%s failed", case.id, exc_info=True)
            facts = {"status": "failed", "reason": self._reason(case, error), "seconds": since(start)}
            self.record(case, **facts)
        self.rows[case.id] = CaseResult(case, facts["status"], facts)
        if facts["status"] == "ok":
            self.progress.end(f"done in {facts['seconds']['total']:.1f} s")
        else:
            self.progress.end(f"failed: {facts['reason']}", predicted=False, failed=True)

    def _reason(self, case: Case, error: Exception) -> str:
        """One line: our own errors say what to do; of others the kind is named too."""
        import torch  # not before a case has failed: what is done already is told without it

        text = " ".join(str(error).split())
        if isinstance(error, torch.cuda.OutOfMemoryError):
            reason = f"the accelerator's memory does not hold one {self.part}; give --device=cpu, or free it"
        elif isinstance(error, MemoryError):
            reason = f"this machine's memory does not hold the {self.whole} ({text or 'MemoryError'}); use a larger one"
        else:
            reason = text if isinstance(error, DensekitError) else f"{type(error).__name__}: {text}"
        stale = (self.out / case.output_name).exists()
        return spoken(reason) + f" ({case.output_name} in the folder is an older result)" * stale


def since(start: float) -> dict[str, float]:
    """Seconds since ``start`` (monotonic), as the ledger has them."""
    return {"total": round(time.monotonic() - start, 3)}
