"""The command line: quick help, one-line errors, exit statuses, the tools/ scripts."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from densekit import cli
from densekit.errors import DataError

ROOT = Path(__file__).parents[1]


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_python_runs_the_package_as_the_command_line():
    result = run("-m", "densekit", "--version")
    assert (result.returncode, result.stderr) == (0, "") and result.stdout.startswith("densekit ")


IMPORT, HELP = "import densekit", "from densekit.cli import build_parser; build_parser().format_help()"


@pytest.mark.parametrize("code", [IMPORT, HELP], ids=["import", "help"])
def test_it_loads_the_standard_library_only_and_says_nothing(code):
    before, after = "import sys; before = set(sys.modules); ", "; print(*set(sys.modules) - before)"
    result = run("-c", before + code + after)
    assert (result.stderr, result.returncode) == ("", 0)
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert loaded - sys.stdlib_module_names == {"densekit"}
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["check", "boxes"], 0, "sound; 0 errors"),
        (["check", "volumes", "--kind", "folder"], 0, "2 cases checked, 0 errors"),
        (["prepare", "folder", "volumes", "out", "--native"], 0, "prepared volumes: "),
        (["test", "none.pth"], 2, "no such checkpoint file"),
        (["test", "config.py"], 2, "is a config"),
        (["predict", "none.pth", "x.png"], 2, "no such checkpoint file"),
    ],
)
def test_what_needs_no_network_does_not_wait_for_torch(tmp_path, arguments, status, said):
    _few_images(tmp_path / "boxes")
    _few_volumes(tmp_path / "volumes")
    code = f"import sys; from densekit.cli import main; print(main({arguments}), 'torch' in sys.modules)"
    result = run("-c", code, cwd=tmp_path, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert said in result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == f"{status} False"


def _few_images(folder):
    folder.mkdir()
    images = [{"id": n, "file_name": f"{n}.png", "width": 32, "height": 32} for n in (1, 2)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [4, 4, 20, 16], "area": 320} for n in (1, 2)]
    for image in images:
        pixels = np.random.default_rng(image["id"]).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / image["file_name"])
    found = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "train.json").write_text(json.dumps(found))


def _few_volumes(folder):
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
        for n in (1, 2):
            values = np.random.default_rng(n).integers(0, 2, (8, 8, 8), dtype=np.uint8)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / name / f"c{n}.nii.gz")


@pytest.mark.parametrize(("code", "seconds"), [(IMPORT, 0.1), (HELP, 0.5)], ids=["import", "help"])
def test_it_is_quick(code, seconds):
    """Of the processor's time, which other programs take no part of; the least of three, the first may warm up."""
    clock = f"import time; before = time.process_time(); {code}; print(time.process_time() - before)"
    assert min(float(run("-c", clock).stdout) for _ in range(3)) < seconds


@pytest.mark.parametrize("verb", [v[0] for v in cli.VERBS])
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([verb, "--help"])
    assert stopped.value.code == 0
    assert "--debug" in capsys.readouterr().out


def test_an_unknown_option_is_exit_status_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "best.pth", "x.nii", "--outt", "y"])
    assert stopped.value.code == 2


@pytest.mark.parametrize("text", ["-1", "one", "1.5"])
def test_a_seed_is_a_whole_number_from_0_on(text, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["demo", "--seed", text])
    assert stopped.value.code == 2
    assert f"argument --seed: '{text}', expected a whole number from 0 on" in capsys.readouterr().err


def test_help_tells_a_default_once_and_only_where_there_is_one(capsys):
    for verb in ("prepare", "train", "predict"):
        with pytest.raises(SystemExit):
            cli.main([verb, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert "default: None" not in text
        assert "default: False" not in text
        assert ") (default" not in text


def test_a_reader_who_has_gone_is_no_error():
    code = (
        "import sys; from densekit import cli; (name, add, _, text), *_ = cli.VERBS; "
        "cli.VERBS[:] = [(name, add, lambda arguments: print('so many lines'), text)]; sys.exit(cli.main([name, 'x']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # the output is written at the very end
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=120) == 0


def test_an_error_out_of_a_data_process_is_its_last_line(failing, capsys):
    message = "scan.nii.gz: truncated; copy it again"
    failing(
        DataError(
            f"Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
            f'  File "x.py", line 1\ndensekit.errors.DataError: {message}\n'
        )
    )
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == f"densekit doctor: {message}\n"


@pytest.fixture
def failing(monkeypatch):
    def use(error):
        def raise_it(arguments):
            raise error

        verbs = [(n, a, raise_it if n == "doctor" else r, t) for n, a, r, t in cli.VERBS]
        monkeypatch.setattr(cli, "VERBS", verbs)

    return use


def test_a_user_error_is_one_line_without_traceback(failing, capsys):
    failing(DataError("scan.nii.gz: truncated; copy it again"))
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == "densekit doctor: scan.nii.gz: truncated; copy it again\n"


def test_debug_shows_the_traceback(failing, capsys):
    failing(DataError("scan.nii.gz: truncated; copy it again"))
    assert cli.main(["doctor", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_status_130_in_one_line(failing, capsys):
    failing(KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130
    err = capsys.readouterr().err
    assert "Ctrl-C" in err
    assert "Traceback" not in err


def test_a_bug_is_not_hidden(failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "tools").glob("*.py")))
def test_tools_hold_no_logic(script):
    tree = ast.parse((ROOT / "tools" / script).read_text())
    assert not [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.For))]
    result = run(ROOT / "tools" / script, "--help")
    assert result.returncode == 0, result.stderr
    assert "usage: densekit" in result.stdout
