"""Which device predicts."""

from __future__ import annotations

import torch

from densekit.errors import ConfigError


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device that ``name`` stands for; ``"auto"`` is CUDA if there is any, else the CPU.

    Raises:
        ConfigError: if there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda, cuda:N or mps; a GPU of NVIDIA or AMD is 'cuda'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: torch finds no CUDA device (`densekit doctor` says why); use --device=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise ConfigError(f"device {name!r}: this machine has CUDA devices 0 to {last}; choose one of them")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {name!r}: torch finds no Apple GPU; use --device=cpu")
    return device
