"""doctor names each mismatch and the exact pip line."""

import ast
import importlib.metadata as metadata
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from densekit import doctor


def test_a_sound_environment_has_no_findings(capsys):
    assert doctor.check_requirements() == []
    assert doctor.check_families() == []
    assert doctor.doctor() == 0
    out = capsys.readouterr().out
    assert "everything fits together" in out
    assert "device used" in out


@pytest.mark.parametrize(
    ("torch", "torchvision", "problem", "remedy"),
    [
        (
            "2.13.0+cpu",
            "0.28.0+cu130",
            "built for the CPU and torchvision 0.28.0+cu130 for CUDA",
            "torch==2.13.0 torchvision==0.28.0",
        ),
        ("2.14.1", "0.28.0", "was not built for torch 2.14.1", "torchvision==0.29.*"),
    ],
)
def test_torch_and_torchvision_must_be_a_pair(torch, torchvision, problem, remedy):
    (finding,) = doctor.check_torch_pair(torch, torchvision)
    assert problem in finding.problem
    assert remedy in finding.remedy
    assert "-m pip install" in finding.remedy


@pytest.mark.parametrize(
    "pair", [("2.14.1", "0.29.1"), ("2.8.0+cu128", "0.23.0+cu128"), ("2.14.1+cpu", "0.29.1+cpu"), (None, "0.29.1")]
)
def test_pairs_that_fit(pair):
    assert doctor.check_torch_pair(*pair) == []


def test_a_torch_that_cannot_be_loaded_is_a_finding(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "torch":
                raise OSError("libcudart.so.13: cannot open shared object file")

    for name in [n for n in sys.modules if n.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    _, (finding,) = doctor.describe_device()
    assert "torch cannot be loaded: libcudart.so.13" in finding.problem
    assert "--force-reinstall torch" in finding.remedy


def test_missing_old_and_doubled_distributions(monkeypatch, capsys):
    real = doctor._version
    faked = {"nibabel": None, "monai": "1.3.0", "mmcv": "2.1.0"}
    monkeypatch.setattr(doctor, "_version", lambda name: faked[name] if name in faked else real(name))
    assert doctor.doctor() == 2
    out = capsys.readouterr().out
    assert "nibabel is not installed" in out
    assert "monai 1.3.0 is outside" in out
    assert "mmcv 2.1.0 is installed beside onedl-mmcv" in out
    assert out.count("-m pip") >= 3


USED_BY_LIBRARIES = {
    "einops": "MONAI's transformers",
    "tensorboard": "MMEngine's writer of curves",
}
EXTRAS = {"supervision"}
"""Packages of extras: imported where they are asked for, and not required."""
COME_ALONG = {"opencv-python-headless": "albumentations", "markupsafe": "jinja2", "huggingface-hub": "timm"}


def imported():
    """Distributions that a file of the package imports, by the names that registries of packages use."""
    owners, found = metadata.packages_distributions(), set()
    for path in Path(doctor.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
    found -= {*sys.stdlib_module_names, *EXTRAS, "densekit"}
    return {owner.lower().replace("_", "-") for name in found for owner in owners[name]}


def required():
    """Names in setup.py, which an installation may be older than."""
    tree = ast.parse((Path(doctor.__file__).parents[1] / "setup.py").read_text(encoding="utf-8"))
    (lines,) = (n.value for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg == "install_requires")
    return {Requirement(line).name.lower() for line in ast.literal_eval(lines)}


def test_what_is_required_is_what_is_used():
    assert required() - imported() == set(USED_BY_LIBRARIES)
    assert imported() - required() == set(COME_ALONG)
