"""docs/python.md: its code runs, block after block, in one folder with a scan, an image and two checkpoints."""

import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import pytest

from densekit.cli import main

from ..inference.detection.conftest import checkpoint, detector_registered  # noqa: F401
from ..inference.segmentation.conftest import checkpoint as segmentor  # noqa: F401
from ..inference.segmentation.conftest import segmentor_registered  # noqa: F401
from ..volume_runs import config, make_case, prepared, short_run  # noqa: F401

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch, short_run, prepared, checkpoint, segmentor, scene):  # noqa: F811
    """The folder that the page speaks of, as the current one."""
    shutil.copy(short_run[1] / "best.pth", tmp_path / "best.pth")
    checkpoint("detector.pth")
    segmentor("segmentor.pth")
    scene().save(tmp_path / "photo.png")
    shutil.copytree(prepared, tmp_path / "data" / "mine")
    (tmp_path / "scans").mkdir()
    for number in range(2):
        make_case(tmp_path, f"scan{number}", number)[0].rename(tmp_path / "scans" / f"scan{number}.nii.gz")
    shutil.copy(tmp_path / "scans" / "scan0.nii.gz", tmp_path / "scan.nii.gz")
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("supervision") is None:
        stand_in = types.ModuleType("supervision")
        stand_in.Detections = types.SimpleNamespace
        monkeypatch.setitem(sys.modules, "supervision", stand_in)
    return tmp_path


def shell(line):
    """Run ``densekit ... > file``."""
    command, _, target = line.partition(">")
    name, *arguments = shlex.split(command)
    assert name == "densekit"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(arguments) == 0
    if target:
        Path(target.strip()).write_text(printed.getvalue())


def test_every_block_runs(folder):
    page = PAGE.read_text(encoding="utf-8")
    blocks = BLOCK.findall(page)
    assert 2 * len(blocks) == page.count("```") and {kind for kind, _ in blocks} == {"python", "sh"}
    namespace = {"__name__": "page"}
    for kind, code in blocks:
        file = re.match(r"# (\w+\.py)\n", code)
        if kind == "sh":
            for line in code.splitlines():
                shell(line)
        elif file:
            (folder / file[1]).write_text(code)
        else:
            line = page[: page.index(code)].count("\n")
            exec(compile("\n" * line + code, str(PAGE), "exec"), namespace)
    for name in (
        "out.nii.gz",
        "out.labels.json",
        "out.png",
        "from_memory.nii.gz",
        "photo_boxes.png",
        "photo.json",
        "photo_classes.png",
    ):
        assert (folder / name).is_file(), name
    for name in ("predictions/report.html", "scores/scores.csv", "runs/mine/best.pth", "runs/own/best.pth"):
        assert (folder / name).is_file(), name
