"""Whether all that is asked for was done before: decided by the ledger and by hashes, without torch or the network."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densekit.errors import DensekitError
from densekit.inference.inputs import Case, Wanted, expand, left_out, place
from densekit.inference.ledger import LEDGER, Ledger
from densekit.inference.run import CaseResult, RunResult
from densekit.io import sha256

logger = logging.getLogger("densekit")


@dataclass(frozen=True)
class _Done(Case):
    """A case as the ledger remembers it."""

    output: str = ""

    @property
    def output_name(self) -> str:
        return self.output


def remember(result: RunResult, *, task: str, asked: Mapping[str, Any]) -> None:
    """Note in the ledger of a run that failed nowhere what was asked for, so that :func:`earlier_run` can compare it.

    Args:
        result: The run.
        task: Name of its task.
        asked: Device and options, as they were given.

    Raises:
        OutputError: if the ledger cannot be written.
    """
    if result.exit_status or not (result.out / LEDGER).is_file():
        return
    ledger = Ledger(result.out / LEDGER)
    ledger.content["asked"] = {
        "task": task,
        "options": dict(asked),
        "cases": {row.case.id: [str(place(path)) for path in row.case.paths] for row in result.rows},
        "tables": {name: sha256(result.out / name) for name in result.tables},
    }
    ledger.save()


def earlier_run(
    checkpoint: Path, inputs: Sequence[str | Path], out: Path, *, asked: Mapping[str, Any], kinds: Mapping[str, Wanted]
) -> RunResult | None:
    """The run that made everything that is asked for now, if one did and nothing has changed since.

    What counts as done is what :func:`densekit.inference.run.results_to_keep` keeps: the same checkpoint, inputs,
    settings and version, and results as they were written. None sends on to the ordinary run, which also says what is
    the matter with an input or the ledger.

    Args:
        checkpoint: Its file.
        inputs: Files, folders, globs.
        out: Output folder.
        asked: As for :func:`remember`.
        kinds: By name of a task, which files it predicts.
    """
    try:
        return _earlier_run(checkpoint, inputs, out, asked, kinds) if (out / LEDGER).is_file() else None
    except (DensekitError, OSError, LookupError, TypeError, AttributeError) as error:  # of a ledger edited by hand too
        logger.debug("not done before: %s", error)
        return None


def _earlier_run(
    checkpoint: Path, inputs: Sequence[str | Path], out: Path, asked: Mapping[str, Any], kinds: Mapping[str, Wanted]
) -> RunResult | None:
    ledger = Ledger(out / LEDGER)
    run = ledger.content.get("asked")
    if ledger.content["status"] != "finished" or not run or run["options"] != asked or run["task"] not in kinds:
        return None
    wanted = kinds[run["task"]]
    files = {str(place(file)) for item in inputs for file in expand(Path(item).expanduser(), out, wanted)}
    if files != {file for of_case in run["cases"].values() for file in of_case}:
        return None
    entries = {name: ledger.content["cases"].get(name) for name in run["cases"]}
    if not all(entry and entry["status"] == "ok" for entry in entries.values()):
        return None
    cases = [_Done(name, tuple(map(Path, run["cases"][name])), entry["output"]) for name, entry in entries.items()]
    made = [out / name for c in cases for name in entries[c.id].get("files", [c.output_name])]
    if not all(file.is_file() for file in made) or not all(case.is_readable() for case in cases):
        return None
    ledger.weights, ledger.settings = sha256(checkpoint), next(iter(entries.values()))["settings"]
    if any(ledger.mismatch(case, out / case.output_name) for case in cases):
        return None
    if any(sha256(out / name) != digest for name, digest in run["tables"].items()):
        return None
    result = RunResult(0, [CaseResult(case, "kept", entries[case.id]) for case in cases], out)
    logger.info("nothing has changed since: %s", result.render())
    for line in left_out(inputs, out, wanted):
        logger.warning(line)
    return result
