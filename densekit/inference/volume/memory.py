"""What fits the accelerator: where the scan and the sums of its scores lie, and how many windows at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor

_VOLUME_SHARE = 0.25
_SUMS_SHARE = 0.5
"""Shares of the accelerator's free memory that the scan and the running sums may take, else they stay on the host."""


def place(
    volume: Tensor, device: torch.device, *, rows: int, classes: int, notes: list[str]
) -> tuple[Tensor, torch.device]:
    """Decide what lies on the accelerator: the scan if it is small there, the sums unless they would fill it.

    Args:
        volume: The scan (C, d, h, w) on the network's grid, on the host.
        device: Where windows are predicted.
        rows: Depth of a window, in voxels.
        classes: Number of classes.
        notes: A line is added if the sums stay on the host.

    Returns:
        The scan where it is to lie, and the device of the sums.
    """
    if device.type != "cuda":
        return volume, device
    if volume.dtype in (torch.uint16, torch.uint32):  # few operations know these on an accelerator
        volume = volume.to(torch.int32 if volume.dtype is torch.uint16 else torch.int64)
    free = _free(device)
    if volume.numel() * volume.element_size() < _VOLUME_SHARE * free:
        volume = volume.to(device)
    sums = 2 * 4 * (classes + 1) * rows * volume.shape[2] * volume.shape[3]  # float32, and the finished rows beside
    if sums <= _SUMS_SHARE * free:
        return volume, device
    notes.append(f"scores are summed on the host: {sums / 2**30:.1f} GiB would not fit the accelerator")
    return volume, torch.device("cpu")


def _free(device: torch.device) -> int:
    """Bytes that this process can get, those included that torch holds back from training steps."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


class Halving:
    """A network that halves its batch when the accelerator runs out of memory, and remembers what fitted."""

    def __init__(self, network: Callable[[Tensor], Tensor]):
        self.network = network
        self.limit: int | None = None

    def __call__(self, windows: Tensor) -> Tensor:
        while True:
            size = min(self.limit or len(windows), len(windows))
            try:
                return torch.cat([self.network(part) for part in windows.split(size)])
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                self.limit = size // 2
            torch.cuda.empty_cache()  # outside the handler: the exception's frames hold on to tensors


def peak_mb(device: torch.device) -> dict[str, float]:
    """Peak memory in MB: ``host`` (of the process so far) and, on CUDA, ``device`` (since it was last reset)."""
    peak = {}
    if sys.platform != "win32":  # the module does not exist there
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        peak["host"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
    if device.type == "cuda":
        peak["device"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return peak
