"""What was done before is told by hashes alone: without torch, and only if nothing has changed."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from densekit.inference.done import earlier_run, remember
from densekit.inference.inputs import IMAGES, VOLUMES
from densekit.inference.ledger import LEDGER, Ledger
from densekit.inference.run import CaseResult, RunResult
from densekit.inference.volume.scans import find_scans
from densekit.io import sha256

ASKED = {"device": "auto", "overlap": 0.25}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The files of a finished run over two scans that are named from the working directory."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    for folder in ("scans", "out"):
        (tmp_path / folder).mkdir()
    (tmp_path / "best.pth").write_bytes(b"weights")
    (out / "volumes.csv").write_text("a table")
    rows = []
    for name in "ab":
        (tmp_path / "scans" / f"{name}.nii.gz").write_text(f"scan {name}")
        (out / f"{name}.nii.gz").write_text(f"labels of {name}")
        (out / f"{name}.png").write_text("a picture")
    ledger = Ledger(out / LEDGER, weights=sha256(tmp_path / "best.pth"), settings={"overlap": 0.25})
    for case in find_scans(["scans"], channels=1, out=out):
        hashes = {"inputs_sha256": [sha256(case.paths[0])], "output_sha256": sha256(out / case.output_name)}
        facts = {"status": "ok", "output": case.output_name, "files": [case.output_name, f"{case.id}.png"], **hashes}
        ledger.record(case, **facts)
        rows.append(CaseResult(case, "ok", facts))
    ledger.finish("finished")
    result = RunResult(0, rows, out, ("volumes.csv",))
    remember(result, task="volume", asked=ASKED)
    return result


def found(root, inputs=("scans",), **asked):
    kinds = {"volume": VOLUMES, "detection": IMAGES}
    return earlier_run(root / "best.pth", inputs, root / "out", asked={**ASKED, **asked}, kinds=kinds)


@pytest.mark.parametrize("inputs", [["scans"], ["scans/*"], ["scans/b.nii.gz", "./scans/../scans/a.nii.gz"]])
def test_the_same_files_however_they_are_given_are_done(made, tmp_path, inputs):
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    done = found(tmp_path, inputs)
    assert done.exit_status == 0 and {row.case.id: row.status for row in done.rows} == {"a": "kept", "b": "kept"}
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def edited(root):
    ledger = Ledger(root / "out" / LEDGER)
    ledger.content["asked"] = {"task": "volume"}
    ledger.save()


def another_run(root):
    """One that failed somewhere, so that it is not remembered."""
    ledger = Ledger(root / "out" / LEDGER)
    ledger.start()
    ledger.finish("finished")


CHANGES = {
    "weights": lambda root: (root / "best.pth").write_bytes(b"other"),
    "no weights": lambda root: (root / "best.pth").unlink(),
    "an input": lambda root: (root / "scans/b.nii.gz").write_text("scan c"),
    "an input that is a FIFO": lambda root: ((root / "scans/b.nii.gz").unlink(), os.mkfifo(root / "scans/b.nii.gz")),
    "an input more": lambda root: (root / "scans/c.nii.gz").write_text("scan c"),
    "an input less": lambda root: (root / "scans/b.nii.gz").unlink(),
    "an input with a link to it": lambda root: (root / "scans/c.nii.gz").symlink_to("a.nii.gz"),
    "a result": lambda root: (root / "out/a.nii.gz").write_text("corrected by hand"),
    "no result": lambda root: (root / "out/a.nii.gz").unlink(),
    "no picture": lambda root: (root / "out/a.png").unlink(),
    "a table": lambda root: (root / "out/volumes.csv").write_text("corrected by hand"),
    "no table": lambda root: (root / "out/volumes.csv").unlink(),
    "no ledger": lambda root: (root / "out" / LEDGER).unlink(),
    "another ledger": lambda root: (root / "out" / LEDGER).write_text("{"),
    "a ledger edited by hand": edited,
    "another run since": another_run,
    "stopped": lambda root: Ledger(root / "out" / LEDGER).finish("interrupted"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_has_changed_is_for_the_ordinary_run(made, tmp_path, change):
    assert found(tmp_path) is not None
    CHANGES[change](tmp_path)
    assert found(tmp_path) is None


@pytest.mark.parametrize("asked", [{"overlap": 0.5}, {"device": "cpu"}, {"strict": True}])
def test_other_options_are_for_the_ordinary_run(made, tmp_path, asked):
    assert found(tmp_path, **asked) is None


def test_another_version_is_for_the_ordinary_run(made, tmp_path, monkeypatch):
    monkeypatch.setattr("densekit.inference.ledger.__version__", "9.0")
    assert found(tmp_path) is None


def test_a_run_with_a_failure_is_not_remembered(made, tmp_path):
    ledger = Ledger(tmp_path / "out" / LEDGER)
    del ledger.content["asked"]
    ledger.save()
    remember(replace(made, exit_status=3), task="volume", asked=ASKED)
    assert found(tmp_path) is None


def test_the_command_line_knows_it_before_torch_is_loaded(made, tmp_path):
    code = "import sys; from densekit.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    command = ["predict", "best.pth", "scans", "--out", "out", "--overlap", "0.25"]
    run = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    assert run.stdout == "0 False\n"
    assert "2 kept from before" in run.stderr
