"""Where a run goes: a folder of its own, never over another run."""

import os

import pytest

from densekit.engine.folder import choose_folder
from densekit.errors import ConfigError, OutputError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_runs_started_in_the_same_second_do_not_share_a_folder(monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20250101_120000")
    folders = [choose_folder("tiny", None, resume=False) for _ in range(3)]
    assert [folder.name for folder in folders] == ["20250101_120000", "20250101_120000_2", "20250101_120000_3"]
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize("name", ["best.pth", "last.pth"])
def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=rf"holds a run already \({name}\).*resume to go on"):
        choose_folder("tiny", tmp_path, resume=False)


def test_resume_takes_the_run_that_was_written_last(tmp_path):
    for age, name in ((100, "renamed"), (0, "20250101_120000"), (200, "20240101_120000")):
        folder = tmp_path / "runs" / "tiny" / name
        folder.mkdir(parents=True)
        (folder / "last.pth").touch()
        os.utime(folder / "last.pth", (1e9 - age, 1e9 - age))
    assert choose_folder("tiny", None, resume=True).name == "20250101_120000"


def test_resume_without_a_run_says_where_it_looked(tmp_path):
    with pytest.raises(ConfigError, match=r"no run with a last.pth under runs/tiny"):
        choose_folder("tiny", None, resume=True)


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(OutputError, match=r"runs/tiny: the work folder cannot be made"):
        choose_folder("tiny", None, resume=False)
