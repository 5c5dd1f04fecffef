"""The ledger of an output folder (``predictions.json``): what each result was made of, to resume and audit a run."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densekit import __version__
from densekit.errors import OutputError
from densekit.inference.inputs import Case
from densekit.io import output_error, sha256, write_json_atomic

FORMAT = 1
LEDGER = "predictions.json"
"""Its name in the output folder."""


class Ledger:
    """What is known of the results in an output folder; a change is on disk at once, by rename, unless asked otherwise.

    Args:
        path: The ledger file. One that exists is read and continued.
        task: Name of the task whose results it is of; empty: whichever.
        weights: sha256 of the checkpoint of this run.
        settings: Inference settings of this run that may change a result.

    Raises:
        OutputError: if the file cannot be read, is no ledger, or one of another task.
    """

    def __init__(self, path: Path, *, task: str = "", weights: str = "", settings: Mapping[str, Any] | None = None):
        self.path = path
        self.task = task
        self.weights = weights
        self.settings = json.loads(json.dumps(settings or {}))  # as they come back from the file: lists, not tuples
        self.is_new = not path.exists()
        self.content = {"format": FORMAT, "status": "new", "cases": {}} if self.is_new else self._read()

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            raise output_error(self.path, error) from error
        except ValueError:
            content = None
        if isinstance(content, dict) and content.get("format") == FORMAT and isinstance(content.get("cases"), dict):
            if self.task in ("", content.get("task", self.task)):
                return content
            raise OutputError(
                f"{self.path.parent}: holds results of the task {content['task']!r}, these would be of {self.task!r}; "
                f"choose another --out"
            )
        raise OutputError(f"{self.path}: is not a ledger of densekit predictions; move it away or choose another --out")

    def start(self, **facts: Any) -> None:
        """Note what is the same for all cases of this run; what was asked of an earlier one counts no longer."""
        import numpy as np
        import torch

        self.content.pop("asked", None)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        self.content |= {
            "densekit": __version__,
            "task": self.task,
            "versions": versions,
            "weights_sha256": self.weights,
            **facts,
        }
        self.finish("running")

    def record(self, case: Case, *, save: bool = True, **facts: Any) -> None:
        """Note what became of a case, on disk at once unless ``save`` is False.

        Raises:
            OutputError: if the ledger cannot be written.
        """
        self.content["cases"][case.id] = {
            "inputs": [str(path) for path in case.paths],
            "densekit": __version__,
            "weights_sha256": self.weights,
            "settings": self.settings,
            **facts,
        }
        if save:
            self.save()

    def save(self) -> None:
        """Bring to disk what was recorded without it.

        Raises:
            OutputError: if the ledger cannot be written.
        """
        write_json_atomic(self.path, self.content)

    def finish(self, status: str) -> None:
        """Note how the run stands: ``"running"``, ``"finished"``, ``"interrupted"`` or ``"stopped: <reason>"``."""
        self.content["status"] = status
        self.save()

    def entry(self, case: Case) -> dict[str, Any] | None:
        """The entry of a case, if there is one."""
        return self.content["cases"].get(case.id)

    def mismatch(self, case: Case, output: Path) -> str | None:
        """Say why an existing result is not what this run would make of the case; None if it is.

        File hashes decide, not dates or names.
        """
        entry = self.entry(case)
        if entry is None or entry["status"] != "ok":
            return "not made by densekit, as far as its ledger says"
        if entry["weights_sha256"] != self.weights:
            return "made with other weights"
        if entry["settings"] != self.settings or entry["densekit"] != __version__:
            return "made with other settings or another version"
        if entry["inputs_sha256"] != [sha256(path) for path in case.paths]:
            return f"made from another {case.kind} of that name"
        if entry["output_sha256"] != sha256(output):
            return "changed since it was made"
        return None
