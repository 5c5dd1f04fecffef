"""``import densekit`` is cheap, serves ``mmcv._ext`` on demand, and keeps the imports of mmdet and mmseg silent."""

import importlib.util
import logging
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import mmcv._ext
import mmcv.ops
import pytest
from mmengine.logging import print_log
from mmengine.utils.dl_utils import mmcv_full_available

from densekit.errors import ConfigError, DensekitError
from densekit.ops.mmcv_ext import install, select_operators
from densekit.ops.mmcv_ext.finder import OperatorFinder

ROOT = Path(__file__).parents[3]


def run(code: str, *, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run Python code in a fresh process; ``path`` comes first on its module path."""
    inherited = {
        key: value for key, value in os.environ.items() if key not in ("DENSEKIT_OPS", "NO_ALBUMENTATIONS_UPDATE")
    }
    environment = {**inherited, "PYTHONPATH": os.pathsep.join(map(str, [path or ROOT, ROOT])), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)


def test_importing_densekit_is_cheap_and_silent():
    result = run(
        "import sys, time; start = time.process_time(); import densekit; seconds = time.process_time() - start\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'mmcv', 'mmengine', 'mmdet'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert seconds < 0.05, seconds\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_importing_mmdet_and_mmseg_works_and_prints_nothing():
    result = run(
        "import densekit, mmdet.models, mmseg.models, mmdet.datasets, mmseg.datasets, mmdet.evaluation\n"
        "import mmdet.apis, mmseg.apis\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_spec_is_real():
    spec = importlib.util.find_spec("mmcv._ext")
    assert spec is mmcv._ext.__spec__ and spec.name == "mmcv._ext" and spec.loader is not None
    assert mmcv_full_available()
    assert pkgutil.resolve_name("mmcv._ext") is mmcv._ext
    assert "torchvision" in mmcv.ops.get_compiler_version()


def test_adjusted_modules_keep_their_own_loader_and_source():
    module = sys.modules["mmcv.ops.nms"]
    assert Path(module.__spec__.loader.get_filename()) == Path(module.__file__)
    assert "class NMSop" in module.__spec__.loader.get_source("mmcv.ops.nms")


def test_log_messages_without_a_logger_are_printed_unless_they_are_for_debugging(capsys):
    print_log("for debugging", level=logging.DEBUG)
    print_log("for everybody")
    print_log("a warning", None, logging.WARNING)
    assert capsys.readouterr().out == "for everybody\na warning\n"


def test_finder_is_installed_once():
    install()
    assert sum(isinstance(finder, OperatorFinder) for finder in sys.meta_path) == 1


def test_operators_without_stand_in_name_themselves_the_model_and_the_remedy():
    with pytest.raises(DensekitError, match=r"line_nms_forward.*CLRNet.*choose another model.*DENSEKIT_OPS=mmcv"):
        mmcv.ops.line_nms(None, None, 0.5, 10)
    with pytest.raises(DensekitError, match=r"psamask_forward.*PSANet \(mmseg\)"):
        mmcv._ext.psamask_forward()
    with pytest.raises(DensekitError, match=r"sync_bn_forward_mean.*MMSyncBN.*type='SyncBN'"):
        mmcv._ext.sync_bn_forward_mean()
    with pytest.raises(DensekitError, match=r"operator_of_tomorrow.*no model of mmdet or mmseg"):
        mmcv._ext.operator_of_tomorrow()
    assert not hasattr(mmcv._ext, "__path__")


def test_operators_cannot_change_hands_once_they_are_imported(monkeypatch):
    monkeypatch.setenv("DENSEKIT_OPS", "torchvision")
    with pytest.raises(ConfigError, match="already served by torchvision"):
        select_operators("mmcv")
    assert os.environ["DENSEKIT_OPS"] == "torchvision"
    select_operators("torchvision")


@pytest.fixture
def compiled_mmcv(tmp_path) -> Path:
    """A directory with what stands for an mmcv that was built with its operators."""
    for name, source in {
        "mmcv/__init__.py": "",
        "mmcv/_ext.py": "origin = 'compiled'",
        "mmcv/ops/__init__.py": "from .nms import batched_nms",
        "mmcv/ops/nms.py": "batched_nms = 'of mmcv'",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


SHOW = "import densekit, mmcv._ext, mmcv.ops; print(getattr(mmcv._ext.nms, '__module__', ''), mmcv.ops.batched_nms)"
SHOW_COMPILED = "import mmcv._ext, mmcv.ops; print(mmcv._ext.origin, mmcv.ops.batched_nms)"


def test_stand_ins_serve_even_where_a_compiled_mmcv_exists(compiled_mmcv):
    result = run(SHOW, path=compiled_mmcv)
    assert result.stdout.startswith("densekit.ops.mmcv_ext.nms <function batched_nms"), result.stderr


def test_variable_hands_back_to_mmcv(compiled_mmcv):
    result = run("import densekit; " + SHOW_COMPILED, path=compiled_mmcv, DENSEKIT_OPS="mmcv")
    assert result.stdout == "compiled of mmcv\n", result.stderr


def test_function_hands_back_to_mmcv(compiled_mmcv):
    code = "from densekit.ops.mmcv_ext import select_operators; select_operators('mmcv'); "
    result = run(code + SHOW_COMPILED, path=compiled_mmcv)
    assert result.stdout == "compiled of mmcv\n", result.stderr


def test_handing_back_to_an_mmcv_without_operators_says_what_to_do(compiled_mmcv):
    (compiled_mmcv / "mmcv/_ext.py").unlink()
    result = run("import densekit, mmcv._ext", path=compiled_mmcv, DENSEKIT_OPS="mmcv")
    assert result.returncode == 1
    assert "ConfigError: DENSEKIT_OPS=mmcv asks for mmcv's compiled operators" in result.stderr
    assert "unset DENSEKIT_OPS" in result.stderr


def test_mistyped_source_is_answered_with_the_close_one(monkeypatch):
    result = run("import densekit, mmcv._ext", DENSEKIT_OPS="torchvison")
    assert "DENSEKIT_OPS=torchvison: expected torchvision or mmcv; did you mean 'torchvision'?" in result.stderr
    monkeypatch.delenv("DENSEKIT_OPS", raising=False)
    with pytest.raises(ConfigError, match="did you mean 'mmcv'"):
        select_operators("mmcvv")
    assert os.environ["DENSEKIT_OPS"] == "torchvision"


def test_operators_imported_before_densekit_are_reported(compiled_mmcv):
    result = run("import mmcv.ops; import densekit", path=compiled_mmcv)
    assert (
        "mmcv.ops was imported before densekit and does not use its operators: import densekit first" in result.stderr
    )
