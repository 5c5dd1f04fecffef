"""``densekit doctor``: what is installed, what will really be used, and the exact line that mends what does not fit."""

from __future__ import annotations

import importlib.metadata as metadata
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module

from packaging.requirements import Requirement

PIP = f"{sys.executable} -m pip install"
ORIGINALS = {
    "mmengine": "onedl-mmengine",
    "mmcv": "onedl-mmcv",
    "mmdet": "onedl-mmdetection",
    "mmsegmentation": "onedl-mmsegmentation",
}
# torchvision's minor version that was built for a torch minor version: 0.x belongs to 2.(x - 15).
TORCHVISION_OFFSET = 15


@dataclass(frozen=True)
class Finding:
    """Something that does not fit, and the command that mends it."""

    problem: str
    remedy: str


def doctor() -> int:
    """Print versions, device and findings; returns 0 if nothing is wrong, else 2."""
    findings = [*check_requirements(), *check_families(), *check_torch_pair(_version("torch"), _version("torchvision"))]
    print(f"python       {platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}")
    for name in _shown():
        print(f"{name:<24} {_version(name) or 'not installed'}")
    if _version("torch"):
        lines, more = describe_device()
        print(*lines, sep="\n")
        findings += more
    if not findings:
        print("everything fits together")
        return 0
    for finding in findings:
        print(f"\nproblem: {finding.problem}\n  mend:  {finding.remedy}")
    return 2


def requirements() -> list[Requirement]:
    """What setup.py asks for, without the extras."""
    return [
        r
        for r in map(Requirement, metadata.requires("densekit") or [])
        if r.marker is None or r.marker.evaluate({"extra": ""})
    ]


def check_requirements() -> list[Finding]:
    """Distributions that are missing or outside the range that is known to work."""
    findings = []
    for requirement in requirements():
        found = _version(requirement.name)
        if found is None:
            findings.append(Finding(f"{requirement.name} is not installed", f"{PIP} '{requirement}'"))
        elif not requirement.specifier.contains(found.split("+")[0], prereleases=True):
            findings.append(
                Finding(f"{requirement.name} {found} is outside {requirement.specifier}", f"{PIP} '{requirement}'")
            )
    return findings


def check_families() -> list[Finding]:
    """OpenMMLab's original distributions beside their maintained continuation: both own the same import name."""
    return [
        Finding(
            f"{original} {_version(original)} is installed beside {ours}: both provide the same import name, which one "
            f"wins is chance",
            f"{sys.executable} -m pip uninstall -y {original} && "
            f"{PIP} --force-reinstall --no-deps {ours}=={_version(ours)}",
        )
        for original, ours in ORIGINALS.items()
        if _version(original) and _version(ours)
    ]


def check_torch_pair(torch: str | None, torchvision: str | None) -> list[Finding]:
    """torch and torchvision must be one pair: built for each other, and both for the CPU or both for CUDA.

    Args:
        torch: Version with its local part, e.g. ``"2.14.1+cpu"``.
        torchvision: The same.
    """
    if torch is None or torchvision is None:
        return []
    minor = int(torch.split(".")[1])
    wanted = f"0.{minor + TORCHVISION_OFFSET}"
    if not torchvision.startswith(wanted + "."):
        return [
            Finding(f"torchvision {torchvision} was not built for torch {torch}", f"{PIP} 'torchvision=={wanted}.*'")
        ]
    kinds = [_build(torch), _build(torchvision)]
    if kinds[0] != kinds[1] and "unknown" not in kinds:
        plain = torch.split("+")[0]
        return [
            Finding(
                f"torch {torch} is built for {kinds[0]} and torchvision {torchvision} for {kinds[1]}: torchvision's "
                f"operators cannot be loaded",
                f"{PIP} --force-reinstall torch=={plain} torchvision=={torchvision.split('+')[0]}",
            )
        ]
    return []


def describe_device() -> tuple[list[str], list[Finding]]:
    """The device that predict and train will use, and why it is not a GPU if there is one that cannot be used."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a library that torch brings or expects is missing
        reason = str(error).splitlines()[0]
        return [], [Finding(f"torch cannot be loaded: {reason}", f"{PIP} --force-reinstall torch torchvision")]
    findings = []
    try:
        import_module("torchvision.ops")
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        remedy = (
            f"{PIP} --force-reinstall torch=={torch.__version__.split('+')[0]} torchvision=={_version('torchvision')}"
        )
        findings.append(Finding(f"torchvision cannot be loaded: {reason}", remedy))
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return [f"device used              cuda ({', '.join(names)}; torch is built for {built})"], findings
    driver = _nvidia_driver()
    if driver and not torch.version.cuda:
        findings.append(
            Finding(
                f"there is an NVIDIA driver ({driver}), but this torch is built for the CPU only",
                f"{PIP} --force-reinstall torch torchvision",
            )
        )
    elif driver:
        findings.append(
            Finding(
                f"there is an NVIDIA driver ({driver}), but torch (built for {built}) cannot use it: the driver may be "
                f"too old for this CUDA",
                "update the NVIDIA driver, or install a torch built for an older CUDA",
            )
        )
    return [
        f"device used              cpu, {torch.get_num_threads()} threads (torch is built for {built}, no usable GPU)"
    ], findings


def _shown() -> list[str]:
    return ["densekit", *(r.name for r in requirements())]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _build(version: str) -> str:
    local = version.partition("+")[2]
    if local == "cpu":
        return "the CPU"
    return "CUDA" if re.match(r"cu\d", local) else "unknown"


def _nvidia_driver() -> str | None:
    """Driver version as nvidia-smi tells it, or None without a driver."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip().splitlines()[0] if result.returncode == 0 and result.stdout.strip() else None
