"""What is installed without a clone: every file of the package, and a program that works from anywhere."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder with the unpacked wheel; it is built from a copy, as a build leaves files among the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "clone").mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / "clone")
    shutil.copytree(ROOT / "densekit", folder / "clone" / "densekit", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *options, str(folder / "clone")], check=True, timeout=300)
    (wheel,) = folder.glob("densekit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def files_of(package):
    return {str(p.relative_to(package)) for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def test_a_wheel_holds_every_file_of_the_package(installed):
    assert files_of(installed / "densekit") == files_of(ROOT / "densekit")
    (entry,) = installed.glob("densekit-*.dist-info/entry_points.txt")
    assert "densekit = densekit.cli:main" in entry.read_text()


@pytest.mark.slow
def test_the_demo_runs_in_a_bare_folder(installed, tmp_path):
    """Data, training, scores, prediction and report, with the config and the templates of the wheel."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = "import sys, densekit; from densekit.cli import main; print(densekit.__file__); sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--epochs", "1", "--work-dir", "run"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith(str(installed))
    assert (tmp_path / "run" / "report.html").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
